"""What the service needs of the queue engine, also of its private calls, each in a process of its own.

`make test-engine` runs this folder against the newest version of the engine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
from sqlalchemy import text

from service.queue.engine import client_of, enqueue
from service.settings import Settings
from service.store.engine import writing
from service.store.jobs import PRIORITIES, DeviceChoice, JobRequest, Priority, QueueEntry
from tests.service.conftest import SMALL, Bench

WORKER = """
import json, os, queue, sys, threading, time
from service.queue.delivery import Deliveries
from service.store.engine import open_engine

url, name, act, *runs = sys.argv[1:]
device = os.environ.get("TEST_DEVICE", "cpu")
inbox, taken = queue.SimpleQueue(), []

def execute(run_id):
    done = threading.Event()
    inbox.put((run_id, done))
    done.wait()

deliveries = Deliveries(open_engine(url), url, name, execute, device)
deliveries.start()
if act == "hand on":
    first = deliveries.taken()
    deliveries.hand_on(["dead"])
    taken.append(first)
while len(taken) < len(runs) + (act == "hand on"):
    run_id, done = inbox.get(timeout=40)
    taken.append(run_id)
    if act == "die":
        print(json.dumps(taken), flush=True)
        os._exit(1)
    if act == "hand back" and len(taken) == 1:
        deliveries.hand_back(run_id)
    done.set()
time.sleep(1)  # the engine writes the outcomes
print(json.dumps(taken), flush=True)
os._exit(0)
"""


def worked(settings: Settings, name: str, act: str, *runs: str, device: DeviceChoice = "cpu") -> list[Any]:
    """Return what a worker process took; it ends after as many runs as it is told of."""
    command = [sys.executable, "-c", WORKER, settings.sqlalchemy_url, name, act, *runs]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=False, env=os.environ | {"TEST_DEVICE": device}
    )
    assert ended.stdout, ended.stderr
    found: list[Any] = json.loads(ended.stdout)
    return found


def statuses(bench: Bench) -> dict[str, str]:
    with bench.engine.connect() as connection:
        rows = connection.execute(text("SELECT workflow_uuid, status FROM workflow_status"))
        return {run_id: status for run_id, status in rows}  # noqa: C416 - rows are no pairs to mypy


def test_the_engine_is_a_version_that_was_tried() -> None:
    tried = version("dbos").split(".")[:2] == ["3", "4"]
    assert tried or os.environ.get("FANIN_TEST_ENGINE"), "make test-engine tries another one"


def test_an_entry_exists_exactly_if_its_transaction_is_committed(bench: Bench) -> None:
    client = client_of(bench.engine)

    def enqueue_and_fail() -> None:
        with writing(bench.engine) as connection:
            enqueue(client, connection, "run_1", QueueEntry(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        enqueue_and_fail()
    assert statuses(bench) == {}
    with writing(bench.engine) as connection:
        enqueue(client, connection, "run_2", QueueEntry(1))
    assert statuses(bench) == {"run_2": "ENQUEUED"}


def test_runs_are_delivered_by_priority_and_then_by_age(bench: Bench, settings: Settings) -> None:
    asked: list[tuple[str, Any]] = []
    priorities: tuple[Priority, ...] = ("low", "normal", "high", "normal")
    for priority in priorities:
        new = bench.queue.submit(JobRequest(SMALL, priority=priority)).new
        assert new is not None
        asked.append((new.run_id, PRIORITIES[priority]))
    expected = [run_id for run_id, _ in sorted(asked, key=lambda one: one[1])]
    assert worked(settings, "me", "work", *expected) == expected
    assert set(statuses(bench).values()) == {"SUCCESS"}


def test_a_run_of_a_dead_worker_is_handed_on_to_another(bench: Bench, settings: Settings) -> None:
    _, run_id = bench.submit()
    assert worked(settings, "dead", "die", run_id) == [run_id]
    assert statuses(bench) == {run_id: "PENDING"}
    assert worked(settings, "other", "hand on", run_id) == [{run_id: "dead"}, run_id]
    assert statuses(bench) == {run_id: "SUCCESS"}


def test_a_run_that_is_handed_back_is_delivered_again_whatever_its_process_then_says(
    bench: Bench, settings: Settings
) -> None:
    _, run_id = bench.submit()
    assert worked(settings, "me", "hand back", run_id, run_id) == [run_id, run_id]
    assert statuses(bench) == {run_id: "SUCCESS"}


def test_a_worker_takes_runs_for_its_device_and_for_any_and_no_others(bench: Bench, settings: Settings) -> None:
    devices: tuple[DeviceChoice, ...] = ("gpu", "any", "cpu", "gpu", "any")
    asked: dict[str, DeviceChoice] = {}
    for device in devices:
        new = bench.queue.submit(JobRequest(SMALL, device=device)).new
        assert new is not None
        asked[new.run_id] = device
    fitting = [run_id for run_id, device in asked.items() if device != "gpu"]
    assert sorted(worked(settings, "me", "work", *fitting)) == fitting
    left = {run_id for run_id, status in statuses(bench).items() if status == "ENQUEUED"}
    assert left == set(asked) - set(fitting)
    assert sorted(worked(settings, "other", "work", *left, device="gpu")) == sorted(left)
