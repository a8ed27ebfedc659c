"""One chaos trial on one database: it submits jobs, and kills processes at chosen moments."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from benchmarks.jumping_clock import JumpingClock
from benchmarks.machines import Cluster, Machine, wait_until
from service.artifacts.layout import attempt_prefix, job_folder
from service.store.checkpoints import files_of_job
from service.store.engine import open_engine
from service.store.tables import jobs, runs
from service.store.workers import list_workers

TTL_S = 2
WORKERS = 4
OPEN_JOBS = 2
SEEDS = 4
BODY: dict[str, Any] = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 30, "batch_size": 20}
KILLS_OF_A_MACHINE = 2
"""Worker processes killed on a machine before another replaces it: its supervisor's back-off grows each time."""


@dataclass
class Kill:
    """One kill: its kind, its time (seconds since 1970), the jobs that it hit, and where in their work."""

    kind: str
    at: float
    hit: list[str]
    moment: str = ""


@dataclass
class Trial:
    """A trial on one database: its cluster, its jobs and its kills."""

    cluster: Cluster
    clock: JumpingClock
    random: random.Random
    open_jobs: int = OPEN_JOBS
    kills: list[Kill] = field(default_factory=list)
    submitted: dict[str, int] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    machines_made: int = 0
    retried: int = 0

    def __post_init__(self) -> None:
        self.engine = open_engine(self.cluster.sqlalchemy_url)

    # -- clients -----------------------------------------------------------------------------------------

    def submit(self, seed: int) -> str:
        """Submit a job with an idempotency key, retrying until the API answers; return the job's id."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}

        def answered() -> str | None:
            with suppress(httpx.HTTPError):
                response = self.cluster.client.post("/jobs", json=BODY | {"seed": seed}, headers=headers)
                return str(response.raise_for_status().json()["id"])
            return None

        job_id: str = wait_until(answered, 120, "the API to take a job")
        self.submitted[job_id] = seed
        return job_id

    def states(self) -> dict[str, str]:
        """Return the state of every job, from the rows."""
        with self.engine.connect() as connection:
            return {row.id: row.state for row in connection.execute(select(jobs.c.id, jobs.c.state))}

    def keep_jobs_coming(self) -> None:
        """Submit until `open_jobs` have not ended, and retry jobs that had too many attempts."""
        self.retry_what_was_given_up()
        states = self.states()
        missing = self.open_jobs - sum(state not in ("succeeded", "failed") for state in states.values())
        for _ in range(missing):
            self.submit(self.random.randrange(SEEDS))

    def retry_what_was_given_up(self) -> None:
        """Retry the jobs that failed after three deaths in one epoch or on a full disk, as a client would."""
        with self.engine.connect() as connection:
            failed = connection.execute(select(jobs.c.id, jobs.c.error).where(jobs.c.state == "failed")).all()
        for job_id, error in failed:
            if error["type"] in ("too-many-attempts", "storage"):
                with suppress(httpx.HTTPError):
                    self.cluster.client.post(f"/jobs/{job_id}/retry").raise_for_status()
                    self.retried += 1

    def all_ended(self) -> bool:
        """Return whether all jobs have ended, after a retry of those that had too many attempts."""
        self.retry_what_was_given_up()
        return set(self.states().values()) <= {"succeeded", "failed"}

    def running(self) -> dict[str, tuple[str, int, int]]:
        """Return the run, attempt and epoch of each running job, by job id."""
        with self.engine.connect() as connection:
            query = select(jobs.c.id, jobs.c.epoch, jobs.c.run_id, runs.c.attempt).join(
                runs, jobs.c.run_id == runs.c.id
            )
            rows = connection.execute(query.where(jobs.c.state == "running")).all()
        return {row.id: (row.run_id, row.attempt, row.epoch) for row in rows}

    def trainer_of(self, job_id: str) -> tuple[Machine, int] | None:
        """Return the machine and the process id that train a job; None if that process is dead or there is none."""
        events = self.cluster.client.get(f"/jobs/{job_id}/events", params={"limit": 100}).json()["data"]
        started = [event["data"] for event in events if event["type"] == "job.running"]
        if not started:
            return None
        machine = self.cluster.machines.get(started[-1]["worker"].partition(":")[0])
        process_id = started[-1]["process_id"]
        return (machine, process_id) if machine is not None and process_id in machine.workers() else None

    # -- machines ----------------------------------------------------------------------------------------

    def new_machine(self, *, wait: bool) -> Machine:
        """Start a worker machine under a new name."""
        self.machines_made += 1
        return self.cluster.start_worker(f"machine-{self.machines_made}", wait=wait)

    def replace_worn_machines(self) -> None:
        """Stop, in good order, machines whose workers were killed `KILLS_OF_A_MACHINE` times, and start others."""
        for name, deaths in list(self.deaths.items()):
            if deaths >= KILLS_OF_A_MACHINE:
                del self.deaths[name]
                self.cluster.machines.pop(name).stop()
                self.new_machine(wait=False)

    # -- kills -------------------------------------------------------------------------------------------

    def victim(self) -> tuple[str, Machine, int]:
        """Wait until a live process trains a job and a worker is free; return the job's id, machine and process id."""

        def found() -> tuple[str, Machine, int] | None:
            self.keep_jobs_coming()
            if not self.someone_is_free():
                return None
            candidates = list(self.running())
            self.random.shuffle(candidates)
            for job_id in candidates:
                trainer = self.trainer_of(job_id)
                if trainer is not None:
                    return job_id, *trainer
            return None

        chosen: tuple[str, Machine, int] = wait_until(found, 120, "a job in training")
        return chosen

    def someone_is_free(self) -> bool:
        """Return whether a live worker is idle."""
        return any(worker.age_s < TTL_S and worker.run_id is None for worker in list_workers(self.engine))

    def moment_of(self, job_id: str, before: tuple[str, int, int] | None) -> str:
        """Return where in its work a job's attempt was killed, judged by the files that it left."""
        if before is None:
            return "elsewhere"
        prefix = attempt_prefix(job_id, before[0], before[1])
        known = files_of_job(self.engine, job_id).paths
        listed = self.cluster.artifacts.list_below(job_folder(job_id))
        left = [path for path in listed if path.startswith(prefix) and path not in known]
        if any(path.endswith(".part") for path in left):
            return "while a file was written"
        # Old optimizer states lose their rows before their files are deleted; only the newest epoch's count.
        newest = max((int(Path(path).name[:6]) for path in left), default=-1)
        return "between file and row" if newest > self.running().get(job_id, before)[2] else "in an epoch"

    def kill_worker(self, kind: str, wait_for: Callable[[str], None]) -> None:
        """Kill the process that trains some job, once `wait_for` returns; its supervisor starts another."""
        job_id, machine, process_id = self.victim()
        wait_for(job_id)
        before = self.running().get(job_id)
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
        self.kills.append(Kill(kind, time.time(), [job_id], self.moment_of(job_id, before)))
        self.deaths[machine.name] += 1

    def at_random(self, _job_id: str) -> None:
        """Wait for a random moment."""
        time.sleep(self.random.uniform(0.0, 0.8))

    def at_a_file(self, job_id: str) -> None:
        """Wait until a new weights file appears; its row follows some milliseconds later."""
        run_id, attempt, _epoch = self.running().get(job_id, ("", 0, 0))
        prefix = attempt_prefix(job_id, run_id, attempt)

        artifacts = self.cluster.artifacts

        def files() -> int:
            listed = artifacts.list_below(job_folder(job_id))
            return sum(path.startswith(prefix) and path.endswith(".weights.safetensors") for path in listed)

        count = files()
        with suppress(TimeoutError):
            wait_until(lambda: files() > count, 3, "a file", pause_s=0.001)

    def after_a_commit(self, job_id: str) -> None:
        """Wait until a checkpoint's row is committed."""
        before = self.running().get(job_id)
        with suppress(TimeoutError):
            wait_until(lambda: self.running().get(job_id) != before, 3, "a commit", pause_s=0.001)

    def kill_machine(self) -> None:
        """Kill a whole machine; it never comes back, and another one joins only after its job was taken over."""
        job_id, machine, _process_id = self.victim()
        self.at_random(job_id)
        before = self.running().get(job_id)
        machine.kill()
        kill = Kill("machine, for good", time.time(), [job_id], self.moment_of(job_id, before))
        self.kills.append(kill)
        self.deaths.pop(machine.name, None)
        del self.cluster.machines[machine.name]
        self.wait_for_another_attempt(job_id, before)
        self.new_machine(wait=False)

    def wait_for_another_attempt(self, job_id: str, before: tuple[str, int, int] | None) -> None:
        """Wait until a job is in another attempt than `before`, or has ended."""

        def attempt(of: tuple[str, int, int] | None) -> int:
            return of[1] if of else 0

        with suppress(TimeoutError):
            wait_until(lambda: attempt(self.running().get(job_id)) != attempt(before), 30, "another attempt")

    def kill_api(self) -> None:
        """Kill the API and start it again."""
        self.victim()
        self.cluster.machines["api"].kill()
        self.kills.append(Kill("API", time.time(), []))
        self.cluster.start_api()

    def kill_all(self) -> None:
        """Kill the API and all machines, and start the same again."""
        self.victim()
        hit = list(self.running())
        machines = dict(self.cluster.machines)
        for machine in machines.values():
            machine.kill()
        self.kills.append(Kill("API and all workers", time.time(), hit))
        for machine in machines.values():
            machine.start()
        wait_until(self.cluster.api_is_ready, 60, "the API")
        self.deaths.clear()

    def freeze_worker(self) -> None:
        """Freeze a worker until its job has been taken over, then continue it."""
        job_id, _machine, process_id = self.victim()
        before = self.running().get(job_id)
        with suppress(ProcessLookupError):
            self.cluster.hold_still(process_id)
            self.kills.append(Kill("frozen past its lease", time.time(), [job_id]))
            self.wait_for_another_attempt(job_id, before)
            os.kill(process_id, signal.SIGCONT)
