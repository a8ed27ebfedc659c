"""What every answer is built on: a frozen value, and a page of a list."""

from __future__ import annotations

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
