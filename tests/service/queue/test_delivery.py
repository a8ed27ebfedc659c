"""The receiving side of the queue, in a process of its own: the engine's threads end with a process only."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from service.queue.engine import forget_ended
from service.settings import Settings
from service.store.descriptions import DescriptionChange
from service.store.job_transitions import delete_job
from service.store.jobs import DeviceChoice, JobRequest
from tests.service.conftest import SMALL, Bench

WORKER = """
import json, os, sys, threading, time
from service.queue.delivery import Deliveries
from service.queue.engine import POLLING_INTERVAL_S
from service.store.engine import open_engine

url = sys.argv[1]
runs, done = [], threading.Event()

def execute(run_id):
    begun = time.monotonic()
    time.sleep(5 * POLLING_INTERVAL_S)  # the engine polls meanwhile
    runs.append((begun, time.monotonic()))
    if len(runs) == 2:
        done.set()

Deliveries(open_engine(url), url, "me", execute).start()
done.wait(30)
print(json.dumps(runs), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("devices", [("any", "any"), ("cpu", "cpu"), ("any", "cpu")])
def test_a_worker_executes_one_run_at_a_time(
    devices: tuple[DeviceChoice, DeviceChoice], bench: Bench, settings: Settings
) -> None:
    for device in devices:
        bench.queue.submit(JobRequest(SMALL, device=device))
    command = [sys.executable, "-c", WORKER, settings.sqlalchemy_url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    first, second = json.loads(ended.stdout)
    assert first[1] <= second[0]


DROPPING = """
import json, os, queue, sys, threading
from functools import partial
from service.queue.delivery import Deliveries
from service.store.engine import open_engine
from service.store.runs import without_work

url, last = sys.argv[1:]
engine, taken, inbox = open_engine(url), [], queue.SimpleQueue()

def execute(run_id):  # as a worker's main thread, which is outside of the engine's workflow
    done = threading.Event()
    inbox.put((run_id, done))
    done.wait()

deliveries = Deliveries(engine, url, "me", execute)
deliveries.start()
while last not in taken:
    run_id, done = inbox.get(timeout=30)
    taken += [run_id, deliveries.drop(partial(without_work, engine))]
    done.set()
print(json.dumps(taken), flush=True)
os._exit(0)
"""


def test_runs_whose_jobs_are_gone_leave_the_queue_together(
    bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = [bench.submit() for _ in range(8)]
    for job_id, _ in submitted[:4]:
        delete_job(bench.engine, job_id)
    bench.apply_action(submitted[4][0], "pause")
    bench.apply_action(submitted[5][0], "cancel")
    moved = bench.queue.edit_job(submitted[6][0], DescriptionChange(), "low", None)
    command = [sys.executable, "-c", DROPPING, settings.sqlalchemy_url, moved.run_id]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    waiting = submitted[7][1]
    assert json.loads(ended.stdout)[:2] == [submitted[0][1], 6], "the other 6 left at once"
    assert json.loads(ended.stdout)[2::2] == [waiting, moved.run_id]
    monkeypatch.setattr("service.queue.engine.ENTRIES_KEPT_S", -60.0)
    assert forget_ended(bench.engine) >= 6, "entries that were taken out are deleted in the end"
