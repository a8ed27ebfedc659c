"""1,000 tiny jobs from 16 clients to 4 workers, on SQLite and on PostgreSQL: latency of POST /jobs, and throughput.

Before that, on the idle service: the time from a job's row to its start on a worker, one job after another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks.clients import finished_job, seconds_between
from benchmarks.machines import DATABASES, Cluster, Database, wait_until
from benchmarks.report import print_table, write_json
from service.settings import Settings

TURNS = 10
ANSWERS_A_TURN = 100
TRAINING: dict[str, Any] = {"architecture": {"hidden": [256, 256]}, "epochs": 5000, "batch_size": 100}

CLIENTS = 16
WORKERS = 4
IDLE_SUBMISSIONS = 25
END_LIMIT_S = 900
MAX_IDLE_START_S = 0.3
BODY: dict[str, Any] = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 1, "batch_size": 400}


def main() -> None:
    """Measure, print the table, write JSON; exit with status 1 if a job did not succeed, or started late when idle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--database", choices=DATABASES, action="append")
    options = parser.parse_args()
    results = {name: _measured(name, options.jobs) for name in options.database or DATABASES}
    print_table(
        [
            "database",
            "jobs",
            "succeeded",
            "POST p50, ms",
            "p99, ms",
            "POST/s",
            "jobs/s",
            "idle start, s: median",
            "worst",
        ],
        [
            [name, str(options.jobs), str(result["states"].get("succeeded", 0))]
            + [f"{result[key]:.1f}" for key in ("post_p50_ms", "post_p99_ms", "posts_per_s", "jobs_per_s")]
            + [f"{result['idle_start_s'][key]:.3f}" for key in ("median", "worst")]
            for name, result in results.items()
        ],
    )
    if set(results) == set(DATABASES):
        write_json("load", "make load", {"clients": CLIENTS, "workers": WORKERS, "jobs": options.jobs, **results})
    for name, result in results.items():
        for kind, times in result["get_job_while_training"].items():
            print(f"{name}: GET /jobs/ID while {WORKERS} workers train {kind.replace('_', ' ')}: {times}")
    for result in results.values():
        late = result["idle_start_s"]["median"] > MAX_IDLE_START_S
        if result["states"] != {"succeeded": options.jobs} or late:
            raise SystemExit(1)


def _measured(database: Database, jobs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fanin-load-") as folder:
        cluster = Cluster(Path(folder), database, FANIN_SLOT_THREADS="1")
        try:
            cluster.start_api()
            cluster.start_worker("trainer", slots=WORKERS)
            idle = _idle_starts(cluster.client)
            return _load(cluster, jobs) | {
                "idle_start_s": {"median": round(statistics.median(idle), 3), "worst": round(max(idle), 3)},
                "get_job_while_training": _answers_while_training(cluster),
            }
        finally:
            cluster.close()


def _idle_starts(client: httpx.Client) -> list[float]:
    """Return the seconds from a job's row to its start, for jobs that find all workers waiting."""
    finished_job(client, BODY)  # the first one may load code and data for the others
    done = [finished_job(client, BODY) for _ in range(IDLE_SUBMISSIONS)]
    return [seconds_between(job["created_at"], job["started_at"]) for job in done]


def _answers_while_training(cluster: Cluster) -> dict[str, dict[str, float]]:
    """Return the API's response times while every worker trains, at the workers' own priority and at the API's.

    The two alternate, because a shared machine's speed changes. Raising a priority needs root; otherwise returns {}.
    """
    if os.geteuid() != 0:
        return {}
    client, workers = cluster.client, cluster.machines["trainer"].workers()
    ids = [client.post("/jobs", json=BODY | TRAINING).raise_for_status().json()["id"] for _ in workers]
    wait_until(lambda: all(client.get(f"/jobs/{job}").json()["state"] == "running" for job in ids), what="training")
    times: dict[str, list[float]] = {"as_they_run": [], "at_the_apis_priority": []}
    for number in range(2 * TURNS):
        kind = list(times)[number % 2]
        for process_id in workers:
            _renice(process_id, Settings().cpu_niceness if kind == "as_they_run" else 0)
        for _ in range(ANSWERS_A_TURN):
            started = time.perf_counter()
            client.get(f"/jobs/{ids[0]}").raise_for_status()
            times[kind].append(time.perf_counter() - started)
    for job_id in ids:
        client.post(f"/jobs/{job_id}/cancel")
    return {
        kind: {f"p{share}_ms": round(1e3 * _quantile(sorted(seconds), share / 100), 1) for share in (50, 99)}
        for kind, seconds in times.items()
    }


def _renice(process_id: int, niceness: int) -> None:
    """Set the priority of every thread of a process."""
    for task in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(task.name), niceness)


def _load(cluster: Cluster, jobs: int) -> dict[str, Any]:
    clients = [httpx.Client(base_url=cluster.base_url, timeout=60) for _ in range(CLIENTS)]
    job_ids: list[str] = []

    def submit(number: int) -> float:
        started = time.perf_counter()
        response = clients[number % CLIENTS].post("/jobs", json=BODY | {"seed": number})
        seconds = time.perf_counter() - started
        job_ids.append(response.raise_for_status().json()["id"])
        return seconds

    def one_client(index: int) -> list[float]:
        return [submit(number) for number in range(index, jobs, CLIENTS)]

    before = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        latencies = sorted(value for values in pool.map(one_client, range(CLIENTS)) for value in values)
    posted_s = time.perf_counter() - before
    for client in clients:
        client.close()

    def none_open() -> bool:
        return not cluster.client.get("/jobs?state=queued&state=running&limit=1").json()["data"]

    wait_until(none_open, END_LIMIT_S, "all jobs to end", 0.2)
    total_s = time.perf_counter() - before
    print(f"{jobs} jobs posted in {posted_s:.1f} s, ended after {total_s:.1f} s", flush=True)
    return {
        "states": _states(cluster.client, set(job_ids)),
        "post_p50_ms": round(1e3 * _quantile(latencies, 0.5), 1),
        "post_p99_ms": round(1e3 * _quantile(latencies, 0.99), 1),
        "posts_per_s": round(jobs / posted_s, 1),
        "jobs_per_s": round(jobs / total_s, 1),
    }


def _states(client: httpx.Client, job_ids: set[str]) -> dict[str, int]:
    """Return how many of the jobs are in each state."""
    counts: Counter[str] = Counter()
    url = "/jobs?limit=100"
    while url:
        response = client.get(url)
        counts.update(job["state"] for job in response.json()["data"] if job["id"] in job_ids)
        url = response.links.get("next", {}).get("url", "")
    return dict(counts)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


if __name__ == "__main__":
    main()
