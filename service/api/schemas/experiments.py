"""Response models of experiments and recipes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.http.answers import Answer
from service.store.jobs import JobState


class RecipeView(Answer):
    """A published claim about initialization, and how it is tested."""

    name: str
    object: Literal["recipe"] = "recipe"
    title: str
    claim: str
    source: str
    expected: str = Field(description="Criterion for a reproduced claim, fixed before any run.")
    seeds: list[int]
    least_seeds: int = Field(description="Smallest number of seeds that can be judged.")
    members: int = Field(description="Number of jobs.")
    is_long: bool = Field(description="Whether it runs for many minutes.")


class Verdict(Answer):
    """The outcome of a recipe."""

    measured: str | None = Field(description="What was measured; null until all members have ended.")
    holds: bool | None = Field(description="Whether the claim was reproduced; null if undecided.")
    reason: str | None = Field(description="Why it is undecided.")
    table: list[list[str]] = Field([], description="Further measurements, if any; the first row is the header.")


class Member(Answer):
    """One job of an experiment."""

    job_id: str
    state: JobState
    seed: int
    name: str = Field(description="Short form of the label; members that differ only in their seed share it.")
    label: dict[str, Any] = Field(description="The fields of the spec in which the members differ.")
    accuracy: float | None


class ExperimentLinks(Answer):
    """Paths of the resources and actions of an experiment."""

    self: str
    events: str
    comparison: str
    cancel: str


class ExperimentSummary(Answer):
    """An experiment without its members."""

    id: str
    object: Literal["experiment"] = "experiment"
    name: str = Field(
        description="The name that a client has set, or else its recipe, or its schemes and number of seeds."
    )
    note: str | None = Field(description="A note that a client has set.")
    labels: dict[str, str] = Field(description="Labels that a client has set, by key.")
    version: int = Field(description="1 at first, and 1 more with each edit; the ETag of the experiment.")
    recipe: str | None
    states: dict[JobState, int] = Field(description="Number of members in each state.")
    has_ended: bool = Field(description="Whether all members have ended.")
    created_at: datetime
    links: ExperimentLinks


class Experiment(ExperimentSummary):
    """An experiment: jobs that were submitted together; for a recipe also its verdict."""

    request: dict[str, Any]
    members: list[Member]
    verdict: Verdict | None = Field(description="Null without a recipe.")


class DeletedExperiment(Answer):
    """Confirmation that an experiment was deleted."""

    id: str
    object: Literal["experiment"] = "experiment"
    members: int = Field(description="Number of jobs that were deleted with it.")
    deleted: Literal[True] = True
