"""Jobs as the API sees them: insert, find, list, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, Row, func, insert, select, update
from uuid6 import uuid7

from models.results import EpochMetrics
from models.spec import TrainSpec
from service.errors import IllegalTransition, NotFound
from service.store.engine import now, writing
from service.store.events import append_event
from service.store.tables import epochs, jobs, runs

JobState = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
ENDED: frozenset[JobState] = frozenset({"cancelled", "succeeded", "failed"})


@dataclass(frozen=True)
class JobRow:
    """A job with what its run knows of it."""

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
    attempt: int
    worker: str | None
    pins: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        """Say whether the job is over."""
        return self.state in ENDED


class NewJob(NamedTuple):
    """The ids that a new job was given."""

    job_id: str
    run_id: str


_with_run = select(jobs, runs.c.attempt, runs.c.worker, runs.c.pins).join(runs, jobs.c.run_id == runs.c.id)


def _job(row: Row[Any]) -> JobRow:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return JobRow(**values | {"spec": TrainSpec.model_validate(values["spec"])})


def insert_job(connection: Connection, spec: TrainSpec, preset: str | None) -> NewJob:
    """Insert a queued job and its run, in the caller's transaction."""
    new = NewJob(f"job_{uuid7().hex}", f"run_{uuid7().hex}")
    connection.execute(insert(runs).values(id=new.run_id, created_at=now(), attempt=0, attempts_without_checkpoint=0))
    connection.execute(
        insert(jobs).values(
            id=new.job_id,
            run_id=new.run_id,
            state="queued",
            preset=preset,
            spec=spec.model_dump(mode="json"),
            created_at=now(),
            epoch=0,
        )
    )
    append_event(connection, new.job_id, "job.queued")
    return new


def get_job(engine: Engine, job_id: str) -> JobRow:
    """Return one job. Raises `NotFound`."""
    with engine.connect() as connection:
        return _get(connection, job_id)


def _get(connection: Connection, job_id: str) -> JobRow:
    # Other characters could be none of ours, and some, like NUL, are refused by PostgreSQL with an error of its own.
    known = job_id.isascii() and job_id.isidentifier()
    row = connection.execute(_with_run.where(jobs.c.id == job_id)).one_or_none() if known else None
    if row is None:
        raise NotFound(f"There is no job {job_id!r}.", "GET /jobs lists the jobs.")
    return _job(row)


def list_jobs(
    engine: Engine, *, states: Sequence[JobState], scheme: str | None, after: str | None, limit: int
) -> list[JobRow]:
    """Return up to `limit` jobs, newest first, that come after the job `after` in that order."""
    query = _with_run.order_by(jobs.c.id.desc()).limit(limit)
    if states:
        query = query.where(jobs.c.state.in_(states))
    if scheme is not None:
        query = query.where(jobs.c.spec["init"]["scheme"].as_string() == scheme)
    if after is not None:
        query = query.where(jobs.c.id < after)
    with engine.connect() as connection:
        return [_job(row) for row in connection.execute(query)]


def queue_position(engine: Engine, job: JobRow) -> int | None:
    """Return how many queued jobs will start before this one, plus 1; None if it is not queued."""
    if job.state != "queued":
        return None
    earlier = select(func.count()).where(jobs.c.state == "queued", jobs.c.id <= job.id)
    with engine.connect() as connection:
        return int(connection.execute(earlier).scalar_one())


def job_metrics(engine: Engine, job_id: str) -> list[EpochMetrics]:
    """Return the metrics of all committed epochs, in order."""
    query = select(epochs.c.metrics).where(epochs.c.job_id == job_id).order_by(epochs.c.epoch)
    with engine.connect() as connection:
        return [EpochMetrics.model_validate(metrics) for metrics in connection.execute(query).scalars()]


def cancel_job(engine: Engine, job_id: str) -> JobRow:
    """Cancel a job: at once if it is queued or paused; if it runs, its worker stops it within a second.

    Cancelling what is cancelled or being cancelled changes nothing. Raises `IllegalTransition` if the job has
    succeeded or failed, and `NotFound`.
    """
    with writing(engine) as connection:
        job = _get(connection, job_id)
        if job.state in {"cancelled", "cancelling"}:
            return job
        if job.state in ENDED:
            raise IllegalTransition(f"The job has {job.state}; only a job that has not ended can be cancelled.")
        at_once = job.state in {"queued", "paused"}
        change = update(jobs).where(jobs.c.id == job_id, jobs.c.state == job.state)
        values = {"state": "cancelled", "ended_at": now()} if at_once else {"state": "cancelling"}
        if connection.execute(change.values(**values)).rowcount == 1:
            append_event(connection, job_id, "job.cancelled" if at_once else "job.cancelling")
            return _get(connection, job_id)
    return cancel_job(engine, job_id)  # another transaction moved it between the two statements: look again
