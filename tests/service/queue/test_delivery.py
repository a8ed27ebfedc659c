"""The receiving side of the queue, in a process of its own: the engine's threads end with a process only."""

from __future__ import annotations

import json
import subprocess
import sys

from service.settings import Settings
from tests.service.conftest import Bench

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


def test_a_worker_executes_one_run_at_a_time(bench: Bench, settings: Settings) -> None:
    for _ in range(2):
        bench.submit()
    command = [sys.executable, "-c", WORKER, settings.sqlalchemy_url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    first, second = json.loads(ended.stdout)
    assert first[1] <= second[0]
