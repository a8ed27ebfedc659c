"""An attempt at a run, and the fence that every write of it passes.

A worker that was frozen and continued, or whose run was requeued, holds an old attempt number: its writes match no row,
raise `Fenced`, and change nothing. A job that was moved to a new run (resumed, retried) can no longer be written
through its old one. A transaction locks the run's row first, then the job's, then the event counter.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, update

from models.spec import TrainSpec
from service.errors import Fenced
from service.store.engine import now
from service.store.events import append_event
from service.store.jobs import EVENT_OF, JobState, values_of_state
from service.store.tables import jobs, runs

SETTLED_STATE: dict[JobState, JobState] = {"cancelling": "cancelled", "pausing": "paused"}
"""The state that a pending cancel or pause leads to."""
OPEN_STATES = ("queued", "running", "cancelling", "pausing")


@dataclass(frozen=True)
class Member:
    """One job of a run, as the worker takes it up."""

    job_id: str
    state: JobState
    spec: TrainSpec


@dataclass(frozen=True)
class Attempt:
    """An attempt of a worker process at a run; `previous` says how the one before ended, unless it was stopped."""

    run_id: str
    number: int
    attempts_without_checkpoint: int
    pins: dict[str, Any] | None
    members: tuple[Member, ...]
    previous: dict[str, Any] | None = None
    worker: str = ""
    process_id: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(4))


def fence(connection: Connection, attempt: Attempt, **values: Any) -> None:
    """Set `values` in the run's row and lock it for the transaction. Raises `Fenced` if a newer attempt exists."""
    change = update(runs).where(runs.c.id == attempt.run_id, runs.c.attempt == attempt.number)
    if connection.execute(change.values(values or {"attempt": runs.c.attempt})).rowcount != 1:
        raise Fenced(f"Attempt {attempt.number} of {attempt.run_id} is over: a newer attempt has begun.")


def job_of_attempt(attempt: Attempt, job_id: str) -> tuple[Any, Any]:
    """Return the conditions that select a job as long as it belongs to the attempt's run."""
    return jobs.c.id == job_id, jobs.c.run_id == attempt.run_id


def leave_job(
    connection: Connection, job_id: str, state: JobState, error: dict[str, Any] | None = None, **data: object
) -> None:
    """Set the state in which its run leaves a job, and append its event; the caller holds the run's row."""
    event_id = append_event(connection, job_id, EVENT_OF[state], **data, **({"error": error} if error else {}))
    change = update(jobs).where(jobs.c.id == job_id)
    connection.execute(change.values(error=error, **values_of_state(state, event_id)))


def members_in(connection: Connection, run_id: str, states: Sequence[str]) -> list[str]:
    """Return the ids of a run's jobs that are in one of `states`, in order."""
    query = select(jobs.c.id).where(jobs.c.run_id == run_id, jobs.c.state.in_(states)).order_by(jobs.c.id)
    return list(connection.execute(query).scalars())


def hold_run(connection: Connection, run_id: str) -> None:
    """Lock a run's row until the transaction ends, so that no worker and no client changes its jobs meanwhile."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update())


def close_run_if_done(connection: Connection, run_id: str) -> None:
    """Set the end of a run, whose row the caller holds, if none of its jobs needs a worker any more."""
    if not members_in(connection, run_id, OPEN_STATES):
        connection.execute(update(runs).where(runs.c.id == run_id, runs.c.ended_at.is_(None)).values(ended_at=now()))
