"""Jobs as the API sees them: insert and find."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sqlalchemy import Column, Connection, Engine, Select, insert, select
from uuid6 import uuid7

from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics, PretrainMetrics
from models.spec import TrainSpec
from service.errors import NotFound
from service.log_context import request_id
from service.store.descriptions import Description, insert_labels, labels_of
from service.store.engine import now
from service.store.events import EventType, append_event
from service.store.tables import diagnostics, epochs, jobs, pretrain_epochs, runs

JobState = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
Priority = Literal["high", "normal", "low"]
PRIORITIES: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}
"""The queue's sort keys, smallest first; among equal priorities the older entry comes first."""

DeviceChoice = Literal["any", "cpu", "gpu"]
"""The kinds of workers that a job asks for."""

EVENT_OF: dict[JobState, EventType] = {
    "queued": "job.queued",
    "running": "job.running",
    "pausing": "job.pausing",
    "paused": "job.paused",
    "cancelling": "job.cancelling",
    "cancelled": "job.cancelled",
    "succeeded": "job.succeeded",
    "failed": "job.failed",
}
"""The event that records that a job has entered a state."""

ENDED: frozenset[JobState] = frozenset({"cancelled", "succeeded", "failed"})


@dataclass(frozen=True)
class JobRow:
    """A job with the attempt, worker and pins of its run."""

    id: str
    run_id: str
    state: JobState
    preset: str | None
    spec: TrainSpec
    created_at: float
    started_at: float | None
    ended_at: float | None
    epoch: int
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    reproducible: bool
    irreproducible_reason: str | None
    priority: int
    work: float
    attempt: int
    worker: str | None
    pins: dict[str, Any] | None
    experiment_id: str | None = None
    ended_event: int | None = None
    accuracy: float | None = None
    scheme: str = ""
    loss: float | None = None
    name: str | None = None
    note: str | None = None
    version: int = 1
    device: DeviceChoice = "any"
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Return whether the job has ended."""
        return self.state in ENDED

    @classmethod
    def all_of(cls, connection: Connection, query: Select[Any]) -> list[JobRow]:
        """Return the jobs of a query that is made from `jobs_with_runs`, with their labels."""
        rows = connection.execute(query).mappings().all()
        of_jobs = labels_of(connection, [row["id"] for row in rows]) if rows else {}
        return [
            cls(**dict(row) | {"spec": TrainSpec.model_validate(row["spec"]), "labels": of_jobs[row["id"]]})
            for row in rows
        ]


@dataclass(frozen=True)
class JobRequest:
    """What a client submits: the whole spec, its preset if any, a priority, a description, and a kind of device."""

    spec: TrainSpec
    preset: str | None = None
    priority: Priority = "normal"
    description: Description = field(default_factory=Description)
    experiment_id: str | None = None
    device: DeviceChoice = "any"


class QueueEntry(NamedTuple):
    """Where in the queue a run waits: its sort key, and the kind of device that it asks for."""

    priority: int
    device: DeviceChoice = "any"


class NewJob(NamedTuple):
    """The ids of a new job and its run."""

    job_id: str
    run_id: str


jobs_with_runs = select(jobs, runs.c.attempt, runs.c.worker, runs.c.pins).join(runs, jobs.c.run_id == runs.c.id)
"""Selects the columns of `JobRow`."""


def insert_job(connection: Connection, request: JobRequest, run_id: str | None = None) -> NewJob:
    """Insert a queued job in the caller's transaction, into the run `run_id`, or into a new run if that is None."""
    new = NewJob(f"job_{uuid7().hex}", run_id or insert_run(connection))
    spec, description = request.spec, request.description
    connection.execute(
        insert(jobs).values(
            id=new.job_id,
            run_id=new.run_id,
            state="queued",
            preset=request.preset,
            spec=spec.model_dump(mode="json"),
            created_at=now(),
            epoch=0,
            priority=PRIORITIES[request.priority],
            device=request.device,
            work=spec.work,
            experiment_id=request.experiment_id,
            scheme=spec.init.scheme,
            name=description.name,
            note=description.note,
        )
    )
    insert_labels(connection, new.job_id, description.labels)
    by_request = request_id()
    append_event(connection, new.job_id, "job.queued", **({"request_id": by_request} if by_request else {}))
    return new


def values_of_state(state: JobState, event_id: int) -> dict[str, Any]:
    """Return the columns of a job that enters a state by an event: only a job that has ended has an end."""
    has_ended = state in ENDED
    return {"state": state, "ended_at": now() if has_ended else None, "ended_event": event_id if has_ended else None}


def insert_run(connection: Connection, attempt: int = 0, pins: dict[str, Any] | None = None) -> str:
    """Insert a run without jobs, in the caller's transaction, and return its id; later ids sort after earlier ones.

    `attempt` and `pins` are those of the run that it continues, if there is one.
    """
    run_id = f"run_{uuid7().hex}"
    values = {"id": run_id, "attempt": attempt, "pins": pins, "attempts_without_checkpoint": 0}
    connection.execute(insert(runs).values(created_at=now(), **values))
    return run_id


def get_job(engine: Engine, job_id: str) -> JobRow:
    """Return one job. Raises `NotFound`."""
    with engine.connect() as connection:
        return find_job(connection, job_id)


def find_job(connection: Connection, job_id: str) -> JobRow:
    """Return one job, in the caller's transaction. Raises `NotFound`."""
    rows = JobRow.all_of(connection, jobs_with_runs.where(jobs.c.id == job_id)) if may_be_an_id(job_id) else []
    if not rows:
        raise _no_job(job_id)
    return rows[0]


def require_jobs(engine: Engine, job_ids: Collection[str]) -> None:
    """Raise `NotFound` that names the first of `job_ids` that does not exist, if there is one."""
    known = [job_id for job_id in job_ids if may_be_an_id(job_id)]
    with engine.connect() as connection:
        existing = set(connection.execute(select(jobs.c.id).where(jobs.c.id.in_(known))).scalars())
    for job_id in job_ids:
        if job_id not in existing:
            raise _no_job(job_id)


def may_be_an_id(text: str) -> bool:
    """Return whether all characters are those of ids; for some others, such as NUL, PostgreSQL raises its own error."""
    return text.isascii() and text.isidentifier()


def may_be_after(text: str, prefix: str) -> bool:
    """Return whether a text may be the id of the last row of a page, all of whose ids begin with `prefix`."""
    return may_be_an_id(text) and text.startswith(prefix)


def _no_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r}.", "GET /jobs lists the jobs.")


def open_jobs(engine: Engine, job_ids: Collection[str]) -> list[str]:
    """Return those of `job_ids` that exist and have not ended."""
    query = select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.state.not_in(ENDED)).order_by(jobs.c.id)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def job_pretraining(engine: Engine, job_id: str) -> list[PretrainMetrics]:
    """Return the metrics of all committed epochs of pre-training, in order."""
    of_job = pretrain_epochs.c.job_id == job_id
    query = select(pretrain_epochs.c.metrics).where(of_job).order_by(pretrain_epochs.c.number)
    with engine.connect() as connection:
        return [PretrainMetrics.model_validate(metrics) for metrics in connection.execute(query).scalars()]


def seconds_of_job(engine: Engine, job_id: str) -> float:
    """Return the time that the committed epochs of a job took, pre-training included."""
    before = sum(epoch.duration_s for epoch in job_pretraining(engine, job_id))
    return before + sum(epoch.duration_s for epoch in job_metrics(engine, job_id))


def job_diagnostics(
    engine: Engine, job_id: str, after: int | None = None, limit: int | None = None
) -> list[Diagnostics]:
    """Return the layer records of the start and of the committed epochs, in order; of a page after an epoch, or all."""
    found = _by_epoch(engine, diagnostics.c.data, job_id, after, limit)
    return [Diagnostics.model_validate(data) for data in found]


def job_metrics(engine: Engine, job_id: str, after: int | None = None, limit: int | None = None) -> list[EpochMetrics]:
    """Return the metrics of all committed epochs, in order; of a page after an epoch, or all."""
    found = _by_epoch(engine, epochs.c.metrics, job_id, after, limit)
    return [EpochMetrics.model_validate(metrics) for metrics in found]


def _by_epoch(engine: Engine, column: Column[Any], job_id: str, after: int | None, limit: int | None) -> list[Any]:
    table = column.table
    query = select(column).where(table.c.job_id == job_id).order_by(table.c.epoch).limit(limit)
    if after is not None:
        query = query.where(table.c.epoch > after)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())
