"""Events of jobs, in one order for all jobs.

The id of an event comes from a counter row that is updated in the same transaction. Unlike the values of a serial
column, ids then become visible in order: a reader that has seen id n has seen all events before it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, insert, select, update

from service.store.engine import now
from service.store.tables import counters, deleted_jobs, events

IDS_AT_ONCE = 500

EventType = Literal[
    "job.queued",
    "job.running",
    "job.pretrain_epoch",
    "job.epoch",
    "job.checkpoint",
    "job.checkpoint_damaged",
    "job.checkpoint_discarded",
    "job.pausing",
    "job.paused",
    "job.cancelling",
    "job.cancelled",
    "job.succeeded",
    "job.failed",
    "job.released",
]


@dataclass(frozen=True)
class EventRow:
    """One thing that happened to a job."""

    id: int
    job_id: str
    type: EventType
    at: float
    data: dict[str, Any]


def append_event(connection: Connection, job_id: str, event_type: EventType, **data: object) -> int:
    """Insert an event of a job, in the caller's transaction, and return its id."""
    return append_events(connection, job_id, event_type, [data])


def append_events(connection: Connection, job_id: str, event_type: EventType, data: Sequence[dict[str, Any]]) -> int:
    """Insert events of one type of a job, at least one, by two statements; return the id of the last."""
    last_id = count_change(connection, len(data))
    rows = [
        {"id": event_id, "job_id": job_id, "type": event_type, "data": own}
        for event_id, own in enumerate(data, last_id - len(data) + 1)
    ]
    connection.execute(insert(events).values(at=now()), rows)
    return last_id


def count_change(connection: Connection, count: int = 1) -> int:
    """Increment the event counter, in the caller's transaction, and return it.

    Without an event where a model's name has changed.
    """
    counted = update(counters).where(counters.c.name == "event_id").values(value=counters.c.value + count)
    return int(connection.execute(counted.returning(counters.c.value)).scalar_one())


def events_after(
    engine: Engine, after: int, *, job_ids: Collection[str] | None = None, limit: int = 1000
) -> Sequence[EventRow]:
    """Return the events with an id greater than `after`, oldest first; of some jobs or of all."""
    query = select(events).where(events.c.id > after).order_by(events.c.id).limit(limit)
    if job_ids is not None:
        query = query.where(events.c.job_id.in_(job_ids))
    with engine.connect() as connection:
        return [EventRow(**row) for row in connection.execute(query).mappings()]


def deleted_of(engine: Engine, job_ids: Collection[str]) -> frozenset[str]:
    """Return those of `job_ids` that were deleted."""
    gone: set[str] = set()
    ids = sorted(job_ids)
    with engine.connect() as connection:
        for start in range(0, len(ids), IDS_AT_ONCE):
            part = deleted_jobs.c.id.in_(ids[start : start + IDS_AT_ONCE])
            gone |= set(connection.execute(select(deleted_jobs.c.id).where(part)).scalars())
    return frozenset(gone)


def last_event_id(engine: Engine) -> int:
    """Return the event counter: the id of the newest event, or more if names have changed since; 0 at first."""
    with engine.connect() as connection:
        return int(connection.execute(select(counters.c.value).where(counters.c.name == "event_id")).scalar_one())
