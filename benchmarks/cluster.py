"""Two worker machines, an API with PostgreSQL, and object storage, each a host of its own, on a network that fails.

Links are cut for 5, 30 and 120 s, packets are lost in one direction, everything is late by 200 ms, and the clocks of
the workers are two hours apart all the time. Jobs train meanwhile. Afterwards the invariants of the chaos trial must
hold; in each trouble the worker on the good side must go on, and the other one must come back. Needs root and TUN
devices.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos_trial import BODY, SEEDS, Trial
from benchmarks.invariants import MUST_BE_ZERO, judged, undisturbed
from benchmarks.jumping_clock import JumpingClock
from benchmarks.machines import Cluster, Elsewhere, wait_until
from benchmarks.network import NETWORK, Link, Network, why_impossible
from benchmarks.object_storage import S3Server, Storage
from benchmarks.postgresql import PostgreSQL
from benchmarks.report import print_table, write_json
from service.store.workers import list_workers

HOSTS = ("api", "near", "far", "storage")
"""`near` and `far` train. All links between `far` and the others fail; those of `near` do not."""
DATABASE_PORT, STORAGE_PORT = 5432, 9000
TTL_S = 5
OPEN_JOBS = 3
CLOCKS_S = {"near": 3600, "far": -3600}
LOST, LATE = Link(loss=1.0), Link(delay_s=0.1)
CUTS_S = (5.0, 30.0, 120.0)
BACK_LIMIT_S = 150.0
LONG_S = 30.0
"""In a trouble of so long the machine with good links must commit; in a shorter one it may be between two jobs."""


@dataclass(frozen=True)
class Trouble:
    """What fails on the links of `far`: to which hosts, for how long, and in which directions."""

    name: str
    to: tuple[str, ...]
    seconds: float
    there: Link = LOST
    back: Link | None = None


def troubles(cuts_s: tuple[float, ...]) -> list[Trouble]:
    """Return all troubles of a trial."""
    links = {"the database": ("api",), "the storage": ("storage",), "both": ("api", "storage")}
    cuts = [Trouble(f"no link to {name}, {s:g} s", to, s) for name, to in links.items() for s in cuts_s]
    longest = min(30.0, max(cuts_s))
    return [
        *cuts,
        Trouble(f"nothing arrives at the database, {longest:g} s", ("api",), longest, LOST, Link()),
        Trouble(f"nothing comes from the database, {longest:g} s", ("api",), longest, Link(), LOST),
        Trouble(f"a third of all packets lost, {longest:g} s", ("api", "storage"), longest, Link(loss=1 / 3)),
        Trouble(f"200 ms there and back, {2 * longest:g} s", ("api", "storage"), 2 * longest, LATE),
    ]


def main() -> None:
    """Run the trial, print the table and write JSON; exit with status 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=float, nargs="+", default=list(CUTS_S), help="seconds of each cut")
    options = parser.parse_args()
    reason = why_impossible()
    if reason is not None:
        print(f"Skipped: {reason}.")
        return
    with tempfile.TemporaryDirectory(prefix="fanin-cluster-") as folder:
        results = tried(Path(folder), tuple(options.cuts))
    columns = ("meanwhile", "back_s")
    print_table(
        ["trouble of `far`", "epochs of `near` meanwhile", "s until `far` commits again"],
        [[row["trouble"], *(str(row[column]) for column in columns)] for row in results["troubles"]],
    )
    print(", ".join(f"{name.replace('_', ' ')}: {results[name]}" for name in ("submitted", "retried", *MUST_BE_ZERO)))
    if tuple(options.cuts) == CUTS_S:
        write_json("cluster", "make cluster-test", results)
    if any(results[name] for name in MUST_BE_ZERO):
        raise SystemExit(1)


def tried(folder: Path, cuts_s: tuple[float, ...]) -> dict[str, Any]:
    """Run the trial in a folder and return what was counted."""
    with ExitStack() as stack:
        network = Network(*HOSTS)
        stack.callback(network.close)
        database_url = stack.enter_context(database_on(network, folder / "postgresql"))
        storage = Storage(S3Server(network.addresses["storage"], STORAGE_PORT, network.prefix("storage")))
        stack.callback(storage.close)
        clocks = {name: JumpingClock(folder / f"clock-{name}") for name in CLOCKS_S}
        for name, seconds in CLOCKS_S.items():
            clocks[name].jump(seconds)
        elsewhere = Elsewhere(
            database_url,
            network.addresses["api"],
            lambda node: network.prefix(node if node in HOSTS else "api"),
            lambda node: clocks[node].environment if node in clocks else {},
        )
        cluster = Cluster(
            folder,
            "postgresql",
            storage=storage,
            elsewhere=elsewhere,
            FANIN_HOST=network.addresses["api"],
            FANIN_INSECURE="true",
            FANIN_SLOT_THREADS="1",
            FANIN_WORKER_TTL_S=str(TTL_S),
        )
        stack.callback(cluster.close)
        cluster.start_api()
        cluster.start_worker("near")
        expected = undisturbed(cluster, BODY, SEEDS)
        cluster.start_worker("far")
        trial = Trial(cluster, clocks["near"], random.Random(1), open_jobs=OPEN_JOBS)  # noqa: S311 - no secret
        rows = [suffered(trial, network, trouble) for trouble in troubles(cuts_s)]
        wait_until(trial.all_ended, 600, "all jobs to end", 0.5)
        counts = judged(cluster, BODY, trial.submitted, expected).counts
        return {"submitted": len(trial.submitted), "retried": trial.retried, **counts, "troubles": rows}


@contextmanager
def database_on(network: Network, folder: Path) -> Iterator[str]:
    """Run PostgreSQL on the host of the API, and yield its URL."""
    made = PostgreSQL(folder)  # makes the database's files, and the user that it runs as
    made.stop()
    with (folder / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NETWORK}.0/24 trust\n")
    address = network.addresses["api"]
    where = ("-D", str(folder), "-k", str(folder), "-h", address, "-p", str(DATABASE_PORT))
    command = [str(made.program("postgres")), *where]
    user = ["setpriv", f"--reuid={made.user}", f"--regid={made.user}", "--clear-groups"]
    with (folder.parent / "postgresql.log").open("wb") as log:
        process = subprocess.Popen([*network.prefix("api"), *user, *command], stdout=log, stderr=log)
    try:
        yield f"postgresql://postgres@{address}:{DATABASE_PORT}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # a fast shutdown: it does not wait for clients
        process.wait(30)


def suffered(trial: Trial, network: Network, trouble: Trouble) -> dict[str, Any]:
    """Let `far` have a trouble, and return what happened meanwhile and afterwards."""
    busy(trial, "far")
    before = commits(trial, "near")
    with ExitStack() as stack:
        for host in trouble.to:
            stack.enter_context(network.trouble("far", host, trouble.there, trouble.back))
        until = time.monotonic() + trouble.seconds
        while time.monotonic() < until:
            trial.keep_jobs_coming()
            time.sleep(0.2)
    meanwhile, had, ended_at = commits(trial, "near") - before, commits(trial, "far"), time.monotonic()

    def is_back() -> bool:
        trial.keep_jobs_coming()
        return commits(trial, "far") > had

    wait_until(is_back, BACK_LIMIT_S, f"`far` to commit after {trouble.name}", 0.1)
    back_s = round(time.monotonic() - ended_at, 1)
    print(f"{trouble.name}: {meanwhile} epochs of near meanwhile; far is back after {back_s} s", flush=True)
    if meanwhile == 0 and trouble.seconds >= LONG_S:
        raise RuntimeError(f"`near` committed nothing during: {trouble.name}")
    return {"trouble": trouble.name, "meanwhile": meanwhile, "back_s": back_s}


def busy(trial: Trial, name: str) -> None:
    """Wait until a machine trains a job."""

    def trains() -> bool:
        trial.keep_jobs_coming()
        return any(worker.name.startswith(f"{name}:") and worker.run_id for worker in list_workers(trial.engine))

    wait_until(trains, 120, f"{name} to train", 0.1)


def commits(trial: Trial, name: str) -> int:
    """Return how many epochs a machine has committed, by its log."""
    return trial.cluster.machines[name].output().count("committed epoch")


if __name__ == "__main__":
    main()
