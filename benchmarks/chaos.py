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
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import chaos_troubles
from benchmarks.chaos_trial import BODY, SEEDS, TTL_S, WORKERS, Kill, Trial
from benchmarks.invariants import MUST_BE_ZERO, judged, undisturbed
from benchmarks.jumping_clock import JumpingClock
from benchmarks.machines import DATABASES, Cluster, Database, wait_until
from benchmarks.object_storage import Storage
from benchmarks.report import print_table, write_json

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
    if any(result[key] for result in results.values() for key in MUST_BE_ZERO):
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
            expected = undisturbed(cluster, BODY, SEEDS)
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


def _judged(trial: Trial, expected: dict[int, str]) -> dict[str, Any]:
    found = judged(trial.cluster, BODY, trial.submitted, expected)
    recoveries = {kind: sorted(_recovery_s(trial.kills, found.started, kind)) for kind in KINDS}
    times = sorted(value for values in recoveries.values() for value in values)
    return {
        "kills": len(trial.kills),
        "kinds": Counter(kill.kind for kill in trial.kills),
        "moments": Counter(kill.moment for kill in trial.kills if kill.moment),
        "submitted": len(trial.submitted),
        "retried": trial.retried,
        **found.counts,
        "recovery_s": _summary(times),
        "recovery_s_by_kind": {kind: _summary(values) for kind, values in recoveries.items() if values},
    }


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
