"""Request bodies of submissions: a spec, a description, and the kind of device that is asked for."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from models.spec import PresetSpec, TrainSpec
from service.http.problems import invalid_body
from service.store.descriptions import Description
from service.store.jobs import DeviceChoice


class Submission(Description):
    """What a job or an experiment has beside its spec."""

    device: DeviceChoice = Field(
        "any",
        description="gpu or cpu: only a worker on such a device takes the job; it waits until there is one. any: the "
        "first free worker does.",
    )

    @property
    def described(self) -> Description:
        """Return the description alone."""
        return Description(name=self.name, note=self.note, labels=self.labels)


class JobOfPreset(PresetSpec, Submission):
    """A preset with overrides, and what a job has beside its spec."""


class JobOfSpec(TrainSpec, Submission):
    """A complete spec, and what a job has beside it."""


def submission_in(body: dict[str, Any]) -> tuple[dict[str, Any], Submission]:
    """Divide the body of a submission into the spec and the rest. Raises `RequestValidationError`."""
    spec = {name: value for name, value in body.items() if name not in Submission.model_fields}
    try:
        beside = Submission.model_validate({name: body[name] for name in body.keys() - spec.keys()})
    except ValidationError as error:
        raise invalid_body(error, body) from None
    return spec, beside
