"""Response models of events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.http.answers import Answer, timestamp
from service.store.events import EventRow, EventType


class Event(Answer):
    """One event of a job."""

    id: int = Field(description="Increases over all jobs. Events become visible in this order.")
    job_id: str
    type: EventType
    at: datetime
    data: dict[str, Any]


def event_view(row: EventRow) -> Event:
    """Return the response model of an event."""
    return Event(id=row.id, job_id=row.job_id, type=row.type, at=timestamp(row.at), data=row.data)
