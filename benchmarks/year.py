"""Simulate a year of 1,000 jobs a day in SQLite: the size of the file, the times of lists, and what a sweep gives back.

The rows are those of a real job of two epochs, copied under new ids; no files are written.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import Connection, Engine, insert, select, text, update

from benchmarks.machines import Cluster
from benchmarks.report import print_table, write_json
from service.artifacts.folder import Folder
from service.store.engine import open_engine, writing
from service.store.retention import Retention
from service.store.tables import checkpoints, counters, diagnostics, epochs, events, jobs, labels, runs
from service.training.cleanup import Sweep

DAYS, JOBS_A_DAY = 365, 1000
LOOKS = 300
SWEPT = 5000
BODY = {"architecture": {"hidden": [32, 32]}, "epochs": 2, "data": "mnist_5k"}
BY_JOB = (checkpoints, epochs, diagnostics, events)
LISTS = ("/jobs", "/jobs?limit=100", "/jobs?state=failed", "/jobs?state=succeeded&limit=100", "/models", "/experiments")


def main() -> None:
    """Fill a database, measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--diagnostics", action="store_true", help="with records of layers, 15 kB a job")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanin-year-") as folder:
        cluster = Cluster(Path(folder), "sqlite")
        try:
            job_id = cluster.start_with_one_model(BODY | {"diagnostics": options.diagnostics})
            engine = open_engine(cluster.sqlalchemy_url)
            started = time.monotonic()
            for day in range(options.days):
                add_day(engine, job_id, day)
            filled_s = time.monotonic() - started
            result = _measured(cluster, engine, Path(folder) / "fanin.sqlite")
        finally:
            cluster.close()
    count = options.days * JOBS_A_DAY
    print_table(["list", "median, ms", "p99, ms"], [[name, *map(str, of)] for name, of in result["lists_ms"].items()])
    print({name: value for name, value in result.items() if name != "lists_ms"})
    write_json("year", "make bench-year", {"days": options.days, "jobs": count, "filled_s": round(filled_s)} | result)


def add_day(engine: Engine, job_id: str, day: int) -> None:
    """Copy the rows of a job a thousand times, under ids of that day, with other accuracies, losses and labels."""
    with writing(engine) as connection:
        first_event = int(
            connection.execute(select(counters.c.value).where(counters.c.name == "event_id")).scalar_one()
        )
        models = _rows_of(connection, job_id)
        run, job = models.pop("run"), models.pop("job")
        numbers = range(JOBS_A_DAY)
        ids = {number: f"job_01a3{day:04d}{number:04d}" for number in numbers}
        connection.execute(insert(runs), [run | {"id": f"run_{ids[number][4:]}"} for number in numbers])
        for_jobs = []
        event_id = first_event
        event_rows: list[dict[str, Any]] = []
        for number in numbers:
            for row in models["events"]:
                event_id += 1
                event_rows.append(row | {"id": event_id, "job_id": ids[number]})
            own = _varied(day * JOBS_A_DAY + number)
            for_jobs.append(
                job | own | {"id": ids[number], "run_id": f"run_{ids[number][4:]}", "ended_event": event_id}
            )
        connection.execute(insert(jobs), for_jobs)
        labelled = [
            {"owner_id": own["id"], "key": key, "value": value}
            for number, own in enumerate(for_jobs, day * JOBS_A_DAY)
            for key, value in _labels_of(number).items()
        ]
        connection.execute(insert(labels), labelled)
        connection.execute(insert(events), event_rows)
        for table in (checkpoints, epochs, diagnostics):
            if models[table.name]:
                connection.execute(insert(table), list(_copies(models[table.name], ids)))
        changed = update(counters).where(counters.c.name == "event_id").values(value=event_id)
        connection.execute(changed)


def _varied(number: int) -> dict[str, Any]:
    """Return what a job has of its own: one in twenty failed, and one in a hundred is of the rarest scheme."""
    random = np.random.default_rng(number)
    if number % 20 == 0:
        return {"state": "failed", "accuracy": None, "loss": 2.3, "scheme": "zeros"}
    accuracy, loss = round(float(random.uniform(0.9, 0.99)), 4), float(random.uniform(0.01, 0.5))
    scheme = "orthogonal" if number % 100 == 7 else "he_normal" if number % 3 else "xavier_uniform"
    return {"accuracy": accuracy, "loss": loss, "scheme": scheme}


def _labels_of(number: int) -> dict[str, str]:
    """Return the labels of a job: half of all are of one course, and a thousandth is of each group."""
    return {"course": "large" if number % 2 else f"course-{number % 50}", "group": f"g{number % 1000}"}


def _rows_of(connection: Connection, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        table.name: [dict(row) for row in connection.execute(select(table).where(table.c.job_id == job_id)).mappings()]
        for table in BY_JOB
    }
    job = dict(connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one())
    run = dict(connection.execute(select(runs).where(runs.c.id == job["run_id"])).mappings().one())
    return found | {"job": job, "run": run}


def _copies(rows: list[dict[str, Any]], ids: dict[int, str]) -> Iterator[dict[str, Any]]:
    for job_id in ids.values():
        for row in rows:
            yield row | {"job_id": job_id}


def _measured(cluster: Cluster, engine: Engine, file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    lists = {path: times_ms(cluster.client, path) for path in LISTS}
    with engine.connect() as connection:
        count = int(connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())
    started = time.monotonic()
    sweep = Sweep(engine, Folder(cluster.folder / "artifacts"), None, retention=Retention(jobs=count - SWEPT))
    swept = sweep.sweep()
    swept_s = time.monotonic() - started
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    return {
        "file_mib": round(size / 2**20),
        "bytes_a_job": round(size / count),
        "lists_ms": lists,
        "swept_jobs": swept.expired_jobs,
        "swept_jobs_a_s": round(swept.expired_jobs / swept_s),
        "given_back_mib": round((size - file.stat().st_size) / 2**20),
    }


def times_ms(client: httpx.Client, path: str) -> tuple[float, float]:
    """Return the median and the 99th percentile of the milliseconds that a list takes."""
    times = []
    for _ in range(LOOKS):
        started = time.monotonic()
        client.get(path).raise_for_status()
        times.append(1000 * (time.monotonic() - started))
    return round(statistics.median(times), 1), round(statistics.quantiles(times, n=100)[98], 1)


if __name__ == "__main__":
    main()
