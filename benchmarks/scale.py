"""Scale workers as a scheduler does: 300 jobs while worker machines go 0 -> 3 -> 1 -> 3 and back to 0.

Machines that go are stopped by SIGTERM; the last ones end by themselves (`--exit-when-idle`). Counted are jobs that
were lost, second attempts, which only a stop may cause, and epochs that were committed twice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fanin import Client

from benchmarks.machines import DATABASES, Cluster, Database, Machine, wait_until
from benchmarks.report import print_table, write_json

BODY: dict[str, Any] = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 8, "batch_size": 20}
IDLE_S = 3
END_LIMIT_S = 1800.0


def main() -> None:
    """Run the trial on the databases, print the table, write JSON; exit with status 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--databases", nargs="+", default=list(DATABASES), choices=DATABASES)
    options = parser.parse_args()
    results = {}
    for database in options.databases:
        with tempfile.TemporaryDirectory() as name:
            results[database] = trial(Path(name), database, options.jobs)
    rows = [[what, *(str(results[database][what]) for database in results)] for what in next(iter(results.values()))]
    print_table(["what", *results], rows)
    write_json("scale", "make scale", {"jobs": options.jobs, "body": BODY, "databases": results})
    if any(result["lost"] or result["epochs_twice"] or result["unexplained_attempts"] for result in results.values()):
        raise SystemExit(1)


def trial(folder: Path, database: Database, count: int) -> dict[str, Any]:
    """Run the trial on one database, and return what was counted."""
    cluster = Cluster(folder, database, FANIN_SLOT_THREADS="1", FANIN_MAX_QUEUED=str(count + 10))
    cluster.start_api()
    started = time.monotonic()
    try:
        with Client(cluster.base_url) as client:
            job_ids = [client.jobs.create(spec=BODY, seed=seed).id for seed in range(count)]
            first = [cluster.start_worker(f"machine-{number}") for number in range(3)]
            wait_until(lambda: ended(client, job_ids) >= count // 4, END_LIMIT_S, "a quarter of the jobs", 0.5)
            statuses = [machine.stop() for machine in first[1:]]
            wait_until(lambda: ended(client, job_ids) >= count // 2, END_LIMIT_S, "half of the jobs", 0.5)
            idle = ("--exit-when-idle", str(IDLE_S))
            later = [cluster.start_worker(f"machine-{number}", 1, *idle, wait=False) for number in (3, 4)]
            wait_until(lambda: ended(client, job_ids) == count, END_LIMIT_S, "all jobs", 0.5)
            statuses += [ended_status(machine) for machine in later] + [first[0].stop()]
            return counted(client, job_ids, [machine.name for machine in first[1:]]) | {
                "statuses": statuses,
                "seconds": round(time.monotonic() - started),
            }
    finally:
        cluster.close()


def ended(client: Client, job_ids: list[str]) -> int:
    """Return how many jobs have ended: all that are neither queued nor running."""
    open_ = sum(1 for _ in client.jobs.list(state=["queued", "running"]))
    return len(job_ids) - open_


def ended_status(machine: Machine) -> int:
    """Wait until a machine has ended by itself, and return its status."""
    assert machine.process is not None
    return machine.process.wait(60 + 10 * IDLE_S)


def counted(client: Client, job_ids: list[str], stopped: list[str]) -> dict[str, Any]:
    """Return what was lost, repeated, and trained twice; a stopped machine explains a second attempt of its job."""
    lost = again = unexplained = twice = 0
    workers = set()
    for job_id in job_ids:
        events, job = list(client.jobs.events(job_id)), client.jobs.get(job_id)
        committed = Counter(event.data["epoch"] for event in events if event.type == "job.epoch")
        begun_by = [str(event.data["worker"]) for event in events if event.type == "job.running"]
        lost += job.state != "succeeded" or len(job.metrics) != job.spec.epochs
        twice += sum(number - 1 for number in committed.values())
        again += job.attempt > 1
        unexplained += any(worker.partition(":")[0] not in stopped for worker in begun_by[:-1])
        workers |= set(begun_by)
    return {
        "lost": lost,
        "second_attempts": again,
        "unexplained_attempts": unexplained,
        "epochs_twice": twice,
        "workers": len(workers),
    }


if __name__ == "__main__":
    main()
