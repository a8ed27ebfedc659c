"""The receiving side of the queue, in a process of its own: the engine's threads end with a process only."""

from __future__ import annotations

import json
import subprocess
import sys

from service.settings import Settings
from tests.service.conftest import Bench

WORKER = """
import json, os, sys, threading, time
from sqlalchemy import event
from service.queue.delivery import Deliveries
from service.queue.engine import POLLING_INTERVAL_S
from service.store.engine import open_engine

url = sys.argv[1]
engine = open_engine(url)
looks, runs, done = [], [], threading.Event()

@event.listens_for(engine, "before_cursor_execute")
def noted(*_):
    if threading.current_thread().name == "queue-worker-runs":
        looks.append(time.monotonic())

def execute(run_id):
    begun = time.monotonic()
    time.sleep(10 * POLLING_INTERVAL_S)
    runs.append((begun, time.monotonic()))
    if len(runs) == 2:
        done.set()

Deliveries(engine, url, "me", execute).start()
done.wait(30)
within = [sum(begun + POLLING_INTERVAL_S < look < ended for look in looks) for begun, ended in runs]
print(json.dumps({"looks": len(looks), "within_runs": within}), flush=True)
os._exit(0)
"""


def test_a_worker_looks_for_the_next_run_only_when_it_has_ended_the_last(bench: Bench, settings: Settings) -> None:
    for _ in range(2):
        bench.submit()
    command = [sys.executable, "-c", WORKER, settings.sqlalchemy_url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["within_runs"] == [0, 0]
    assert found["looks"] >= 2
