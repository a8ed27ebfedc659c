"""Base classes of the response models: a frozen model, and a page of a list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Answer(BaseModel):
    """Base of all response models; frozen."""

    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[Item]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool = Field(description="Whether more items follow: see the Link header, or use `?after=<last id>`.")


def timestamp(seconds: float) -> datetime:
    """Return a time in seconds since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def timestamp_or_none(seconds: float | None) -> datetime | None:
    """Return a time in seconds since 1970 as a datetime in UTC, or None for None."""
    return None if seconds is None else timestamp(seconds)


class JsonResponse(JSONResponse):
    """A JSON response that ends with a newline, so that a terminal shows its prompt on a line of its own."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return super().render(content) + b"\n"
