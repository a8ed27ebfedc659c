"""Events as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from service.http.answers import Answer, timestamp
from service.store.events import EventRow, EventType


class Event(Answer):
    """One thing that happened to a job."""

    id: int = Field(description="Grows over all jobs; a reader who has seen it has seen all before it.")
    job_id: str
    type: EventType
    at: datetime
    data: dict[str, Any]


def event_view(row: EventRow) -> Event:
    """Return an event as it is shown."""
    return Event(id=row.id, job_id=row.job_id, type=row.type, at=timestamp(row.at), data=row.data)
