"""Runs as a worker sees them: take an attempt, commit epochs, end jobs. Every write is fenced by the attempt.

A worker that was stopped and continued, or whose run was handed on, holds an old attempt number: its writes
match no row, raise `Fenced`, and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from models.results import EpochMetrics, Evaluation
from models.spec import TrainSpec
from service.errors import Fenced, NotFound
from service.store.checkpoints import CheckpointRow, NewCheckpoint, checkpoints_of
from service.store.engine import now, writing
from service.store.events import append_event
from service.store.jobs import JobState
from service.store.tables import checkpoints, epochs, jobs, runs


@dataclass(frozen=True)
class Member:
    """One job of a run, as the worker takes it up."""

    job_id: str
    state: JobState
    spec: TrainSpec


@dataclass(frozen=True)
class Attempt:
    """One try of a worker at a run."""

    run_id: str
    number: int
    attempts_without_checkpoint: int
    pins: dict[str, Any] | None
    members: tuple[Member, ...]


def begin_attempt(engine: Engine, run_id: str, worker: str) -> Attempt:
    """Count a new attempt at a run and return it with those jobs that have not ended.

    Older attempts can commit nothing from here on. Jobs that are being cancelled are cancelled now. Raises
    `NotFound`.
    """
    with writing(engine) as connection:
        counted = (
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                attempt=runs.c.attempt + 1,
                attempts_without_checkpoint=runs.c.attempts_without_checkpoint + 1,
                worker=worker,
            )
            .returning(runs.c.attempt, runs.c.attempts_without_checkpoint, runs.c.pins)
        )
        row = connection.execute(counted).one_or_none()
        if row is None:
            raise NotFound(f"There is no run {run_id!r}.")
        number, barren, pins = row
        for job_id in _members(connection, run_id, ["cancelling"]):
            _end_job(connection, job_id, ["cancelling"], "cancelled")
        members = tuple(
            Member(row.id, row.state, TrainSpec.model_validate(row.spec))
            for row in connection.execute(
                select(jobs).where(jobs.c.run_id == run_id, jobs.c.state.in_(["queued", "running"])).order_by(jobs.c.id)
            )
        )
        _close_run_if_done(connection, run_id)
        return Attempt(run_id, number, barren, pins, members)


def start_jobs(engine: Engine, attempt: Attempt, pins: dict[str, Any], irreproducible_reason: str | None) -> None:
    """Mark the jobs of an attempt as running, under `pins`: what must not change between attempts."""
    with writing(engine) as connection:
        _fence(connection, attempt, pins=pins)
        for member in attempt.members:
            values: dict[str, Any] = {"state": "running"}
            if member.state == "queued":
                values["started_at"] = now()
            if irreproducible_reason:
                values |= {"reproducible": False, "irreproducible_reason": irreproducible_reason}
            change = update(jobs).where(jobs.c.id == member.job_id, jobs.c.state == member.state).values(**values)
            if connection.execute(change).rowcount == 1:
                append_event(connection, member.job_id, "job.running", attempt=attempt.number, **pins)


def uncount_attempt(engine: Engine, attempt: Attempt) -> None:
    """Let an attempt that was asked to stop not count among those that died. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt, attempts_without_checkpoint=runs.c.attempts_without_checkpoint - 1)


def report_progress(engine: Engine, attempt: Attempt, progress: dict[str, dict[str, Any]]) -> dict[str, JobState]:
    """Store how far each running job is, and return the state of every job of the run. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        for job_id, values in progress.items():
            connection.execute(
                update(jobs).where(jobs.c.id == job_id, jobs.c.state == "running").values(progress=values)
            )
        states = select(jobs.c.id, jobs.c.state).where(jobs.c.run_id == attempt.run_id)
        return {row.id: row.state for row in connection.execute(states)}


def commit_checkpoint(
    engine: Engine,
    attempt: Attempt,
    job_id: str,
    checkpoint: NewCheckpoint,
    metrics: Sequence[EpochMetrics],
    evaluation: Evaluation | None = None,
    progress: dict[str, Any] | None = None,
) -> bool:
    """Commit a checkpoint with the epochs that led to it; a final one makes the job succeed.

    All of it in one transaction, fenced: raises `Fenced` if a newer attempt has begun. Returns False, and commits
    nothing, if the job no longer runs because it is being cancelled.
    """
    with writing(engine) as connection:
        _fence(connection, attempt, attempts_without_checkpoint=0)
        values: dict[str, Any] = {"epoch": checkpoint.epoch} | ({"progress": progress} if progress else {})
        advance = update(jobs).where(jobs.c.id == job_id, jobs.c.state == "running").values(**values)
        if connection.execute(advance).rowcount != 1:
            return False
        last = select(func.max(checkpoints.c.seq)).where(checkpoints.c.job_id == job_id)
        newest = connection.execute(last).scalar_one()
        seq = 0 if newest is None else newest + 1
        connection.execute(
            insert(checkpoints).values(
                job_id=job_id,
                seq=seq,
                run_id=attempt.run_id,
                attempt=attempt.number,
                phase="train",
                created_at=now(),
                evaluation=evaluation.model_dump(mode="json") if evaluation else None,
                **vars(checkpoint),
            )
        )
        for one in metrics:
            connection.execute(
                insert(epochs).values(
                    job_id=job_id,
                    epoch=one.epoch,
                    run_id=attempt.run_id,
                    attempt=attempt.number,
                    metrics=one.model_dump(mode="json"),
                )
            )
            append_event(connection, job_id, "job.epoch", **one.model_dump(mode="json", exclude_none=True))
        append_event(connection, job_id, "job.checkpoint", seq=seq, epoch=checkpoint.epoch, final=checkpoint.final)
        if checkpoint.final:
            summary = (
                evaluation.model_dump(mode="json", include={"accuracy", "evaluated_on", "n"}) if evaluation else {}
            )
            _end_job(connection, job_id, ["running"], "succeeded", **summary)
            _close_run_if_done(connection, attempt.run_id)
        return True


def end_job(
    engine: Engine, attempt: Attempt, job_id: str, state: JobState, error: dict[str, Any] | None = None
) -> None:
    """End a job as cancelled, or as failed with the reason. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        allowed: list[JobState] = ["cancelling"] if state == "cancelled" else ["queued", "running"]
        ended = _end_job(connection, job_id, allowed, state, error)
        if not ended and state == "failed":
            # The job was being cancelled while it failed: the wish of its owner comes first.
            _end_job(connection, job_id, ["cancelling"], "cancelled")
        _close_run_if_done(connection, attempt.run_id)


def discard_checkpoint(engine: Engine, attempt: Attempt, row: CheckpointRow, reason: str) -> None:
    """Forget a damaged checkpoint and the epochs after the one before it. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        connection.execute(delete(checkpoints).where(checkpoints.c.job_id == row.job_id, checkpoints.c.seq == row.seq))
        left = checkpoints_of(connection, row.job_id)
        kept_epoch = left[-1].epoch if left else 0
        connection.execute(delete(epochs).where(epochs.c.job_id == row.job_id, epochs.c.epoch > kept_epoch))
        connection.execute(update(jobs).where(jobs.c.id == row.job_id).values(epoch=kept_epoch))
        append_event(connection, row.job_id, "job.checkpoint_damaged", seq=row.seq, epoch=row.epoch, reason=reason)


def forget_resume_files(engine: Engine, attempt: Attempt, job_id: str, keep: int) -> list[str]:
    """Forget all resume files but the last `keep` and return their paths, which may then be deleted."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        of_job = select(checkpoints.c.seq, checkpoints.c.resume_path).where(checkpoints.c.job_id == job_id)
        newest_first = of_job.where(checkpoints.c.resume_path.is_not(None)).order_by(checkpoints.c.seq.desc())
        old = connection.execute(newest_first.offset(keep)).all()
        connection.execute(
            update(checkpoints)
            .where(checkpoints.c.job_id == job_id, checkpoints.c.seq.in_([row.seq for row in old]))
            .values(resume_path=None, resume_file_sha256=None)
        )
        return [row.resume_path for row in old]


def _fence(connection: Connection, attempt: Attempt, **values: Any) -> None:
    """Prove that `attempt` is still the newest, and hold the run's row until the transaction ends."""
    change = update(runs).where(runs.c.id == attempt.run_id, runs.c.attempt == attempt.number)
    if connection.execute(change.values(values or {"attempt": runs.c.attempt})).rowcount != 1:
        raise Fenced(f"Attempt {attempt.number} of {attempt.run_id} is over: a newer attempt has begun.")


def _end_job(
    connection: Connection,
    job_id: str,
    allowed: Sequence[JobState],
    state: JobState,
    error: dict[str, Any] | None = None,
    **data: object,
) -> bool:
    change = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(allowed))
    if connection.execute(change.values(state=state, ended_at=now(), error=error)).rowcount != 1:
        return False
    details = data | ({"error": error} if error else {})
    if state == "succeeded":
        append_event(connection, job_id, "job.succeeded", **details)
    elif state == "failed":
        append_event(connection, job_id, "job.failed", **details)
    else:
        append_event(connection, job_id, "job.cancelled", **details)
    return True


def _members(connection: Connection, run_id: str, states: Sequence[JobState]) -> list[str]:
    query = select(jobs.c.id).where(jobs.c.run_id == run_id, jobs.c.state.in_(states)).order_by(jobs.c.id)
    return list(connection.execute(query).scalars())


def _close_run_if_done(connection: Connection, run_id: str) -> None:
    if not _members(connection, run_id, ["queued", "running", "cancelling", "pausing"]):
        connection.execute(update(runs).where(runs.c.id == run_id).values(ended_at=now()))
