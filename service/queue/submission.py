"""Submit jobs and experiments: insert their rows and enqueue their runs.

The queue delivers a run's id to some worker at least once. The engine (DBOS) knows nothing about jobs: the service's
own rows are authoritative. A run is enqueued in the transaction that inserts its rows, so neither exists without the
other. Arguments are stored as JSON: nothing is unpickled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from service.errors import QueueFull
from service.queue.admission import JobLimits
from service.queue.engine import client_of, enqueue
from service.queue.grouping import RunLimits, divided
from service.store.descriptions import Description, DescriptionChange, Versions
from service.store.edits import NewRuns, edit_experiment, edit_job
from service.store.engine import transact, writing
from service.store.experiments import ExperimentRequest, ExperimentRow, extend_experiment, insert_experiment
from service.store.idempotency import claim, keep_answer
from service.store.job_transitions import JobAction, apply_action
from service.store.jobs import (
    PRIORITIES,
    DeviceChoice,
    JobRequest,
    JobRow,
    NewJob,
    Priority,
    QueueEntry,
    find_job,
    insert_job,
    insert_run,
)
from service.store.queue_estimates import CAUTIOUS_SPEED, measured_speed, queued_count
from service.store.workers import count_live, some_gpu_is_live

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from models.spec import TrainSpec
    from service.queue.engine import Client


Answer = Callable[["Connection", str], dict[str, Any]]
"""Returns the response to a submission from the id of the new job or experiment, in the same transaction."""


class Once(NamedTuple):
    """An idempotency key, the fingerprint of the request, and the function that returns its response."""

    key: str
    fingerprint: str
    answer: Answer


class Members(NamedTuple):
    """The members of an experiment that are inserted together: their specs, and what they have in common."""

    specs: Sequence[TrainSpec]
    description: Description
    device: DeviceChoice


class Submitted(NamedTuple):
    """A new job, or None if its key was used before; and the response stored under the key, if there is one."""

    new: NewJob | None
    answer: dict[str, Any] | None


class Queue:
    """The sending side of the queue, as API processes use it."""

    def __init__(
        self,
        engine: Engine,
        max_queued: int,
        worker_ttl_s: float,
        jobs_per_run: int,
        limits: JobLimits | None = None,
    ) -> None:
        self._engine = engine
        self._max_queued = max_queued
        self._worker_ttl_s = worker_ttl_s
        self._jobs_per_run = jobs_per_run
        self._limits = limits or JobLimits()
        self._client: Client | None = None
        self._lock = threading.Lock()

    def submit(self, request: JobRequest, once: Once | None = None) -> Submitted:
        """Insert a job with its run and its queue entry, and commit: all three or none.

        Raises `QueueFull`, `JobTooLarge`, and `KeyReused` if the key of `once` was used for another request.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            if once is not None:
                before = claim(connection, once.key, once.fingerprint)
                if before is not None:
                    return Submitted(None, before)
            self.check_costs(connection, [request.spec])
            new = insert_job(connection, request)
            enqueue(client, connection, new.run_id, QueueEntry(PRIORITIES[request.priority], request.device))
            self._check_room(connection)
            if once is None:
                return Submitted(new, None)
            answer = once.answer(connection, new.job_id)
            keep_answer(connection, once.key, answer)
        return Submitted(new, answer)

    def submit_experiment(
        self, request: ExperimentRequest, once: Once | None = None
    ) -> tuple[str | None, dict[str, Any] | None]:
        """Insert an experiment with its members, their runs and queue entries, and commit: all or none.

        The members get the experiment's labels. Those that can be trained together share a run: side by side while a
        worker with a GPU is live, else in turns. Returns the experiment's id and None, or None and the stored response
        if the key of `once` was used before. Raises as `submit` does.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            if once is not None:
                before = claim(connection, once.key, once.fingerprint)
                if before is not None:
                    return None, before
            self.check_costs(connection, request.specs)
            experiment_id = insert_experiment(connection, request)
            labels = Description(labels=request.description.labels)
            members = Members(request.specs, labels, request.device)
            self._insert_members(client, connection, experiment_id, members)
            if once is not None:
                keep_answer(connection, once.key, once.answer(connection, experiment_id))
        return experiment_id, None

    def extend_experiment(self, row: ExperimentRow, specs: Sequence[TrainSpec]) -> None:
        """Insert more members of an experiment, as `submit_experiment` does: all or none.

        Raises as it does, and `IllegalTransition` if the experiment has changed since `row` was read.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            extend_experiment(connection, row, len(specs))
            self.check_costs(connection, specs)
            labels = Description(labels=dict(row.labels))
            self._insert_members(client, connection, row.id, Members(specs, labels, row.device))

    def _insert_members(
        self,
        client: Client,
        connection: Connection,
        experiment_id: str,
        members: Members,
    ) -> None:
        runs = self._divided(connection, members)
        run_ids = [insert_run(connection) for _ in range(max(runs) + 1)]
        for spec, run in zip(members.specs, runs, strict=True):
            request = JobRequest(
                spec, description=members.description, experiment_id=experiment_id, device=members.device
            )
            insert_job(connection, request, run_ids[run])
        for run_id in run_ids:
            enqueue(client, connection, run_id, QueueEntry(PRIORITIES["normal"], members.device))
        self._check_room(connection)

    def _divided(self, connection: Connection, members: Members) -> list[int]:
        specs, device = members.specs, members.device
        if device == "gpu" or (device == "any" and some_gpu_is_live(connection, self._worker_ttl_s)):
            return divided(specs, RunLimits(self._jobs_per_run))
        limits = RunLimits.on_cpus(len(specs), count_live(connection, self._worker_ttl_s, "cpu"))
        speed = measured_speed(connection) or CAUTIOUS_SPEED
        return divided(specs, limits, lambda spec: speed.duration_s(spec.work))

    def check_costs(self, connection: Connection, specs: Sequence[TrainSpec]) -> None:
        """Raise `JobTooLarge` if one of these jobs would cost more than is accepted."""
        speed = measured_speed(connection)
        for spec in specs:
            self._limits.check(spec, None if speed is None else speed.duration_s(spec.work))

    def _check_room(self, connection: Connection) -> None:
        """Raise `QueueFull` if this transaction has inserted too many jobs.

        The transaction already holds the event counter, so concurrent submissions cannot exceed the limit together.
        """
        if queued_count(connection) > self._max_queued:
            raise QueueFull(
                f"At most {self._max_queued} jobs may be queued (FANIN_MAX_QUEUED); this request would exceed that.",
                "Try again when some have ended.",
            )

    def apply_action(self, job_id: str, action: JobAction) -> JobRow:
        """Cancel, pause, resume or retry a job, and enqueue its new run if it gets one, in one transaction.

        Raises `IllegalTransition`, `NotFound`.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            job, run_id = apply_action(connection, job_id, action, self._worker_ttl_s)
            if run_id is not None:
                enqueue(client, connection, run_id, QueueEntry(job.priority, job.device))
        return job

    def edit_job(
        self, job_id: str, change: DescriptionChange, priority: Priority | None, if_match: Versions | None
    ) -> JobRow:
        """Edit a job by `store.edits.edit_job`, enqueue it again if its priority changes, and return it."""

        def edit(connection: Connection) -> JobRow:
            self._enqueue_all(connection, edit_job(connection, job_id, change, priority, if_match))
            return find_job(connection, job_id)

        return transact(self._engine, edit)

    def edit_experiment(
        self, experiment_id: str, change: DescriptionChange, priority: Priority | None, if_match: Versions | None
    ) -> None:
        """Edit an experiment by `store.edits.edit_experiment`, and enqueue members whose priority changes again."""

        def edit(connection: Connection) -> None:
            self._enqueue_all(connection, edit_experiment(connection, experiment_id, change, priority, if_match))

        transact(self._engine, edit)

    def _enqueue_all(self, connection: Connection, new_runs: NewRuns) -> None:
        client = self._connected()
        for run_id, entry in new_runs.items():
            enqueue(client, connection, run_id, entry)

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = client_of(self._engine)
            return self._client
