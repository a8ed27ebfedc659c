"""Runs as a worker uses them: begin an attempt, report progress, end jobs.

Every write of an attempt is fenced, and locks rows in the order that `service.store.attempts` describes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, select, update

from models.results import EpochMetrics
from models.spec import TrainSpec
from service.errors import NotFound
from service.store.attempts import (
    SETTLED_STATE,
    Attempt,
    Member,
    close_run_if_done,
    fence,
    hold_run,
    job_of_attempt,
    leave_job,
    members_in,
)
from service.store.engine import now, writing
from service.store.epoch_records import EpochRecords, forget_epochs_of_job_after, insert_records
from service.store.events import append_event
from service.store.jobs import JobState
from service.store.tables import events, jobs, runs
from service.store.work_counts import add_work


def begin_attempt(engine: Engine, run_id: str, worker: str, process_id: int = 0) -> Attempt:
    """Begin a new attempt at a run and return it with the jobs that are queued or running.

    Older attempts can commit nothing from here on. Pending cancels and pauses are carried out. Raises `NotFound`.
    """
    with writing(engine) as connection:
        run = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
        if run is None:
            raise NotFound(f"There is no run {run_id!r}.")
        number, barren = run.attempt + 1, run.attempts_without_checkpoint + 1
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(attempt=number, attempts_without_checkpoint=barren, worker=worker, last_error=None)
        )
        _apply_pending_actions(connection, run_id)
        members = tuple(
            Member(row.id, row.state, TrainSpec.model_validate(row.spec))
            for row in connection.execute(
                select(jobs).where(jobs.c.run_id == run_id, jobs.c.state.in_(["queued", "running"])).order_by(jobs.c.id)
            )
        )
        close_run_if_done(connection, run_id)
        if members and run.worker is not None and run.last_error is None:
            add_work(connection, {"recoveries": 1})
        previous = _end_of_previous(run.attempt, run.worker, run)
        return Attempt(run_id, number, barren, run.pins, members, previous, worker, process_id)


def _end_of_previous(number: int, worker: str | None, run: Any) -> dict[str, Any] | None:
    if worker is None:  # the first attempt, or the previous worker was stopped in good order
        return None
    silent = {"type": "worker-died", "detail": "It ended without reporting an error: killed, or out of memory."}
    return {"attempt": number, "worker": worker} | (run.last_error or silent)


def requests_of(engine: Engine, job_ids: Collection[str]) -> dict[str, str]:
    """Return the ids of the requests that jobs came with, by job; not of jobs that came without."""
    first = select(events.c.job_id, events.c.data).where(events.c.job_id.in_(job_ids), events.c.type == "job.queued")
    found: dict[str, str] = {}
    with engine.connect() as connection:
        for job_id, data in connection.execute(first.order_by(events.c.id)):
            if "request_id" in data:
                found.setdefault(job_id, data["request_id"])
    return found


def without_work(engine: Engine, run_ids: Collection[str]) -> set[str]:
    """Return those of some runs that have ended or do not exist any more."""
    with engine.connect() as connection:
        has_work = select(runs.c.id).where(runs.c.id.in_(run_ids), runs.c.ended_at.is_(None))
        return set(run_ids) - set(connection.execute(has_work).scalars())


def start_jobs(engine: Engine, attempt: Attempt, pins: dict[str, Any], irreproducible_reason: str | None) -> None:
    """Mark the jobs of an attempt as running, under `pins`: what must not change between attempts."""
    with writing(engine) as connection:
        fence(connection, attempt, pins=pins)
        for member in attempt.members:
            values: dict[str, Any] = {"state": "running"}
            if member.state == "queued":
                values["started_at"] = func.coalesce(jobs.c.started_at, now())
            if irreproducible_reason:
                values |= {"reproducible": False, "irreproducible_reason": irreproducible_reason}
            change = (
                update(jobs)
                .where(*job_of_attempt(attempt, member.job_id), jobs.c.state == member.state)
                .values(**values)
            )
            if connection.execute(change).rowcount == 1:
                data: dict[str, Any] = {"worker": attempt.worker, "process_id": attempt.process_id, **pins}
                if attempt.previous:
                    data["previous_attempt"] = attempt.previous
                append_event(connection, member.job_id, "job.running", attempt=attempt.number, **data)


def uncount_attempt(engine: Engine, attempt: Attempt) -> None:
    """Do not count an attempt whose worker is stopping among those that died. Raises `Fenced`."""
    with writing(engine) as connection:
        fence(connection, attempt, attempts_without_checkpoint=runs.c.attempts_without_checkpoint - 1, worker=None)


def note_error(engine: Engine, attempt: Attempt, error: dict[str, Any]) -> None:
    """Store why an attempt ends before its jobs do, for the next attempt to report. Raises `Fenced`."""
    with writing(engine) as connection:
        fence(connection, attempt, last_error=error)


def report_progress(engine: Engine, attempt: Attempt, progress: dict[str, dict[str, Any]]) -> dict[str, JobState]:
    """Store the progress of each running job, and return the state of every job of the run. Raises `Fenced`."""
    with writing(engine) as connection:
        fence(connection, attempt)
        for job_id, values in progress.items():
            change = update(jobs).where(*job_of_attempt(attempt, job_id), jobs.c.state.in_(["running", "pausing"]))
            connection.execute(change.values(progress=values))
        states = select(jobs.c.id, jobs.c.state).where(jobs.c.run_id == attempt.run_id)
        return {row.id: row.state for row in connection.execute(states)}


def end_job(
    engine: Engine,
    attempt: Attempt,
    job_id: str,
    state: JobState,
    error: dict[str, Any] | None = None,
    last_epochs: Sequence[EpochMetrics] = (),
) -> None:
    """End a job as cancelled, or as failed with `error` and the metrics since its last checkpoint. Raises `Fenced`."""
    with writing(engine) as connection:
        fence(connection, attempt)
        current_state: JobState | None = connection.execute(
            select(jobs.c.state).where(*job_of_attempt(attempt, job_id))
        ).scalar()
        if current_state == "cancelling":  # the pending cancel comes first, even if the job has failed meanwhile
            leave_job(connection, job_id, "cancelled", attempt=attempt.number)
        elif state == "failed" and current_state in {"queued", "running", "pausing"}:
            insert_records(connection, attempt, job_id, EpochRecords(last_epochs))
            leave_job(connection, job_id, "failed", error)
        close_run_if_done(connection, attempt.run_id)


def forget_epochs_after(engine: Engine, attempt: Attempt, epoch: int) -> None:
    """Delete earlier attempts' records after an epoch, because this one trains those epochs again. Raises `Fenced`."""
    with writing(engine) as connection:
        fence(connection, attempt)
        still = set(connection.execute(select(jobs.c.id).where(jobs.c.run_id == attempt.run_id)).scalars())
        for member in attempt.members:
            if member.job_id in still:  # one that has moved to another run is another attempt's
                forget_epochs_of_job_after(connection, member.job_id, epoch)


def report_released(engine: Engine, attempt: Attempt, **data: object) -> None:
    """Append a `job.released` event to each cancelled job of a run: its device memory is free."""
    with writing(engine) as connection:
        for job_id in members_in(connection, attempt.run_id, ["cancelled"]):
            append_event(connection, job_id, "job.released", attempt=attempt.number, **data)


def apply_pending_actions_of(engine: Engine, workers: Sequence[str]) -> None:
    """Carry out the pending cancels and pauses of dead workers' jobs, because no attempt will do so soon."""
    with writing(engine) as connection:
        of_workers = select(runs.c.id).where(runs.c.ended_at.is_(None), runs.c.worker.in_(workers))
        for run_id in list(connection.execute(of_workers).scalars()):
            hold_run(connection, run_id)
            _apply_pending_actions(connection, run_id)
            close_run_if_done(connection, run_id)


def _apply_pending_actions(connection: Connection, run_id: str) -> None:
    for pending, settled in SETTLED_STATE.items():
        for job_id in members_in(connection, run_id, [pending]):
            leave_job(connection, job_id, settled)
