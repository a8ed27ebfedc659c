"""What every answer is built on: a frozen value, and a page of a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[Item]):
    """A stretch of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool = Field(description="Whether more follow; `?after=<last id>` and the Link header lead there.")


def timestamp(seconds: float) -> datetime:
    """Return a time of the database, in seconds since 1970, as answers show it: in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def timestamp_or_none(seconds: float | None) -> datetime | None:
    """Return what `timestamp` does, or None for None."""
    return None if seconds is None else timestamp(seconds)
