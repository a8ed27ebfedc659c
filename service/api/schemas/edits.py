"""Request and response models of edits: changes of descriptions and priorities, and deletions by a filter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.http.answers import Answer
from service.store.descriptions import DescriptionChange
from service.store.jobs import Priority


class Edit(DescriptionChange):
    """Changes of a job or an experiment, as a JSON merge patch (RFC 7396): what is absent stays, null removes."""

    priority: Priority | None = Field(
        None, description="A queued job moves behind those of this priority; of an experiment all queued members do."
    )


class KeptJobView(Answer):
    """A job that is not deleted, and why."""

    id: str
    reason: str


class DeletedJobs(Answer):
    """The jobs that a deletion by filter deletes, or would delete."""

    object: Literal["deletion"] = "deletion"
    dry_run: bool = Field(description="Whether nothing was deleted.")
    jobs: list[str] = Field(description="Ids of the jobs, at most 1,000.")
    kept: list[KeptJobView] = Field(description="Jobs of the filter that cannot be deleted, at most 100.")
    has_more: bool = Field(description="Whether the filter has more jobs that can be deleted; repeat the request.")
