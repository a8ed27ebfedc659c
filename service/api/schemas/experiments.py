"""Experiments and recipes as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from service.http.answers import Answer
from service.store.jobs import JobState


class RecipeView(Answer):
    """A claim about initialization that can be tried."""

    name: str
    object: Literal["recipe"] = "recipe"
    title: str
    claim: str
    source: str
    expected: str = Field(description="When the claim counts as reproduced; fixed before it is tried.")
    seeds: list[int]
    least_seeds: int = Field(description="Fewer seeds cannot be judged.")
    members: int = Field(description="Jobs that it takes.")
    is_long: bool = Field(description="Whether it takes many minutes.")


class Verdict(Answer):
    """What became of a recipe's claim."""

    measured: str | None = Field(description="Null until all members have ended.")
    holds: bool | None = Field(description="Whether the claim was reproduced; null if that cannot be said.")
    reason: str | None = Field(description="Why it cannot be said.")
    table: list[list[str]] = Field([], description="More of what was measured, where there is more; its head first.")


class Member(Answer):
    """One job of an experiment."""

    job_id: str
    state: JobState
    seed: int
    name: str = Field(description="The label in short; members that differ in nothing but their seed share it.")
    label: dict[str, Any] = Field(description="The fields of its spec in which members differ.")
    accuracy: float | None


class ExperimentLinks(Answer):
    """Where to go from an experiment."""

    self: str
    events: str
    comparison: str
    cancel: str


class ExperimentSummary(Answer):
    """Jobs that were submitted together."""

    id: str
    object: Literal["experiment"] = "experiment"
    name: str = Field(description="What it tries, in short: its recipe, or its schemes and seeds.")
    recipe: str | None
    states: dict[JobState, int] = Field(description="How many members are in each state.")
    has_ended: bool = Field(description="Whether all members have.")
    created_at: datetime
    links: ExperimentLinks


class Experiment(ExperimentSummary):
    """Jobs that were submitted together, one by one; of a recipe also its verdict."""

    request: dict[str, Any]
    members: list[Member]
    verdict: Verdict | None = Field(description="Of a recipe.")
