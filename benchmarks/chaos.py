"""Kill processes at random while jobs train; then count jobs that were lost, ended twice, or ended with other weights.

On SQLite and on PostgreSQL: one API, four worker machines of one thread each, and heartbeats that expire after two
seconds. Two jobs are in progress at any moment, and one worker is free before each kill. Worker processes are killed at
random moments, when a checkpoint's file appears (before its row), and after a commit. Whole machines are killed, and
never come back under their name. The API is killed alone and together with all workers. Workers are frozen past their
lease and then continued. PostgreSQL is stopped for seconds, the API is frozen, replicas start under the names of living
workers, the disk of the checkpoints is full for a while (or object storage refuses all requests), and the wall clock of
all processes jumps by an hour and back.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks import chaos_troubles
from benchmarks.chaos_trial import BODY, SEEDS, TTL_S, WORKERS, Kill, Trial
from benchmarks.clients import seconds_since_1970
from benchmarks.jumping_clock import JumpingClock
from benchmarks.machines import DATABASES, Cluster, Database, wait_until
from benchmarks.object_storage import Storage
from benchmarks.report import print_table, write_json

LOG_LINE = re.compile(
    r"worker-\S+\[(\d+)\] service\.training\.checkpoint_writer: (job_\w+): attempt (\d+) committed epoch (\d+)"
)
TRACED_AT_LEAST = 0.9
"""The share of all epochs of which a log must tell: a worker that is killed right after a commit tells of none."""

KINDS: dict[str, tuple[int, Callable[[Trial], None]]] = {
    "worker, any moment": (8, lambda trial: trial.kill_worker("worker, any moment", trial.at_random)),
    "worker, at a new file": (5, lambda trial: trial.kill_worker("worker, at a new file", trial.at_a_file)),
    "worker, after a commit": (2, lambda trial: trial.kill_worker("worker, after a commit", trial.after_a_commit)),
    "machine, for good": (3, Trial.kill_machine),
    "API": (1, Trial.kill_api),
    "API and all workers": (1, Trial.kill_all),
    "frozen past its lease": (1, Trial.freeze_worker),
    "database outage": (2, chaos_troubles.database_outage),
    "replica of a living name": (1, chaos_troubles.replica_of_a_name),
    "API frozen": (1, chaos_troubles.freeze_api),
    "storage": (1, chaos_troubles.storage_trouble),
    "clock jumps": (2, chaos_troubles.clock_jumps),
}
"""The kinds of kills: the relative frequency of each, and the function that carries it out."""


def main() -> None:
    """Run the trials, print the table, write JSON; exit with status 1 if anything was lost, doubled or changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="acts on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--s3", action="store_true", help="keep the checkpoints in object storage that fails sometimes")
    options = parser.parse_args()
    results = {name: _trial(name, options.kills, options.seed, options.s3) for name in options.database or DATABASES}
    columns = ("kills", "submitted", "retried", "lost", "ended_twice", "epochs_twice", "wrong_hash")
    print_table(
        ["database", *(column.replace("_", " ") for column in columns), "recovery, s: median", "worst"],
        [
            [name, *(str(result[column]) for column in columns)]
            + [f"{result['recovery_s'][key]:.2f}" for key in ("median", "worst")]
            for name, result in results.items()
        ],
    )
    if options.s3:
        write_json("chaos_storage", "make chaos-storage", results)
    elif set(results) == set(DATABASES):
        write_json("chaos", "make chaos", results)
    bad = ("lost", "ended_twice", "epochs_twice", "wrong_hash")
    if any(result[key] for result in results.values() for key in bad):
        raise SystemExit(1)


def _trial(database: Database, kills: int, seed: int, on_s3: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fanin-chaos-") as text:
        folder = Path(text)
        chaos_troubles.mount_disk(folder / "artifacts")
        clock, storage = JumpingClock(folder / "clock"), Storage() if on_s3 else None
        cluster = Cluster(
            folder,
            database,
            clock=clock,
            storage=storage,
            FANIN_SLOT_THREADS="1",
            FANIN_WORKER_TTL_S=str(TTL_S),
        )
        try:
            cluster.start_api()
            trial = Trial(cluster, clock, random.Random(seed))  # noqa: S311 - no secret
            for _ in range(WORKERS):
                trial.new_machine(wait=True)
            expected = _undisturbed(cluster)
            if storage:
                storage.choose = chaos_troubles.failing_sometimes(random.Random(seed))  # noqa: S311 - no secret
            weights = [weight for weight, _ in KINDS.values()]
            while len(trial.kills) < kills:
                (_, act), *_ = trial.random.choices(list(KINDS.values()), weights)
                act(trial)
                if trial.kills:
                    last = trial.kills[-1]
                    print(f"{database}: {len(trial.kills)}: {last.kind} {last.moment}", flush=True)
                trial.replace_worn_machines()
            wait_until(trial.all_ended, 300, "all jobs to end", 0.5)
            return _judged(trial, expected)
        finally:
            cluster.close()
            if storage:
                storage.close()
            chaos_troubles.unmount(folder / "artifacts")


def _undisturbed(cluster: Cluster) -> dict[int, str]:
    """Return the `weights_sha256` that each seed ends with when nothing is killed."""
    digests = {}
    for seed in range(SEEDS):
        job = cluster.client.post("/jobs", json=BODY | {"seed": seed}, headers={"Prefer": "wait=60"}).json()
        digests[seed] = cluster.client.get(f"/models/{job['id']}").raise_for_status().json()["weights_sha256"]
    return digests


def _judged(trial: Trial, expected: dict[int, str]) -> dict[str, Any]:
    client = trial.cluster.client
    lost, wrong, twice = [], [], []
    started: dict[str, list[float]] = {}
    for job_id, seed in trial.submitted.items():
        job = client.get(f"/jobs/{job_id}").json()
        events = _all_events(client, job_id)
        if job.get("state") != "succeeded" or [entry["epoch"] for entry in job["metrics"]] != list(
            range(1, BODY["epochs"] + 1)
        ):
            lost.append(job_id)
            print(json.dumps(job), flush=True)
            continue
        if sum(event["type"] == "job.succeeded" for event in events) != 1:
            twice.append(job_id)
        if client.get(f"/models/{job_id}").json()["weights_sha256"] != expected[seed]:
            wrong.append(job_id)
        started[job_id] = [seconds_since_1970(entry["at"]) for entry in events if entry["type"] == "job.running"]
    traced = _trace(trial.cluster.folder)
    if sum(traced.values()) < TRACED_AT_LEAST * BODY["epochs"] * len(trial.submitted):
        raise RuntimeError(f"the logs tell of {sum(traced.values())} epochs of {len(trial.submitted)} jobs: too few")
    recoveries = {kind: sorted(_recovery_s(trial.kills, started, kind)) for kind in KINDS}
    times = sorted(value for values in recoveries.values() for value in values)
    return {
        "kills": len(trial.kills),
        "kinds": Counter(kill.kind for kill in trial.kills),
        "moments": Counter(kill.moment for kill in trial.kills if kill.moment),
        "submitted": len(trial.submitted),
        "retried": trial.retried,
        "lost": len(lost),
        "ended_twice": len(twice),
        "epochs_traced": sum(traced.values()),
        "epochs_twice": sum(count > 1 for count in traced.values()),
        "wrong_hash": len(wrong),
        "recovery_s": _summary(times),
        "recovery_s_by_kind": {kind: _summary(values) for kind, values in recoveries.items() if values},
    }


def _all_events(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["id"] if events else 0
        page = client.get(f"/jobs/{job_id}/events", params={"limit": 100, "after": after}).json()
        events += page["data"]
        if not page["has_more"]:
            return events


def _trace(folder: Path) -> Counter[tuple[str, int]]:
    """Return how often each epoch of each job was committed, according to the workers' append-only logs."""
    lines = [line for log in folder.glob("*/output.log") for line in log.read_text(errors="replace").splitlines()]
    matches = [LOG_LINE.search(line) for line in lines]
    return Counter((match[2], int(match[4])) for match in matches if match)


def _recovery_s(kills: list[Kill], started: dict[str, list[float]], kind: str) -> list[float]:
    """Return the seconds from each kill of a kind to the next attempt at each job that it hit."""
    seconds = []
    for kill in kills:
        if kill.kind == kind:
            for job_id in kill.hit:
                # An attempt that began while the clock was wrong has a time that is an hour off.
                later = [at - kill.at for at in started.get(job_id, []) if 0 < at - kill.at < chaos_troubles.JUMP_S / 2]
                seconds += later[:1]
    return seconds


def _summary(times: list[float]) -> dict[str, Any]:
    if not times:
        return {"n": 0, "median": None, "worst": None}
    return {"n": len(times), "median": round(statistics.median(times), 2), "worst": round(times[-1], 2)}


if __name__ == "__main__":
    main()
