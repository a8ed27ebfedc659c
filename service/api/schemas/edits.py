"""Request and response models of edits: descriptions on submission, their changes, and deletions by a filter."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from models.spec import PresetSpec, TrainSpec
from service.http.answers import Answer
from service.http.problems import invalid_body
from service.store.descriptions import Description, DescriptionChange
from service.store.jobs import Priority


class JobOfPreset(PresetSpec, Description):
    """A preset with overrides, and a description of the job."""


class JobOfSpec(TrainSpec, Description):
    """A complete spec, and a description of the job."""


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


def description_in(body: dict[str, Any]) -> tuple[dict[str, Any], Description]:
    """Divide the body of a submission into the spec and the description. Raises `RequestValidationError`."""
    spec = {name: value for name, value in body.items() if name not in Description.model_fields}
    try:
        description = Description.model_validate({name: body[name] for name in body.keys() - spec.keys()})
    except ValidationError as error:
        raise invalid_body(error, body) from None
    return spec, description
