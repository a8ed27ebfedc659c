"""A recipe: specs to train, and a function that judges the results. Values and formulas only; no torch at import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics, Evaluation, first_step_below_2
from models.spec import TrainSpec


@dataclass(frozen=True)
class Outcome:
    """One trained member of a recipe."""

    spec: TrainSpec
    metrics: Sequence[EpochMetrics]
    diagnostics: Sequence[Diagnostics]
    evaluation: Evaluation

    @property
    def seed(self) -> int:
        """Return the member's seed."""
        return self.spec.seed

    @property
    def accuracy(self) -> float:
        """Return the accuracy after the last epoch."""
        return self.evaluation.accuracy

    @property
    def error_percent(self) -> float:
        """Return the share of wrong answers, in percent."""
        return 100 * (1 - self.accuracy)

    @property
    def start(self) -> Diagnostics:
        """Return the layer statistics before training."""
        return self.diagnostics[0]

    @property
    def end(self) -> Diagnostics:
        """Return the layer statistics after the last epoch."""
        return self.diagnostics[-1]

    @property
    def first_step_below_2(self) -> int | None:
        """Return the first step, over all epochs, at which the mean loss of ten steps was below 2.0."""
        return first_step_below_2(self.metrics)


class Judgement(NamedTuple):
    """What was measured, in words, and whether the claim was reproduced.

    `table` may hold more of what was measured; its first row is the head.
    """

    measured: str
    holds: bool
    table: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Recipe:
    """A claim with its source, the specs that test it, the expected result, and a function that judges.

    `members` returns the specs to train for a list of seeds; `judge` gets their outcomes in the same order. Fewer than
    `least_seeds` seeds cannot be judged.
    """

    name: str
    title: str
    claim: str
    source: str
    expected: str
    seeds: tuple[int, ...]
    members: Callable[[Sequence[int]], list[TrainSpec]]
    judge: Callable[[Sequence[Outcome]], Judgement]
    least_seeds: int = 1


def of_scheme(outcomes: Iterable[Outcome], scheme: str) -> list[Outcome]:
    """Return the outcomes of a scheme, by seed."""
    return sorted((run for run in outcomes if run.spec.init.scheme == scheme), key=lambda run: run.seed)


def mean_accuracy(outcomes: Sequence[Outcome]) -> float:
    """Return the mean accuracy."""
    return fmean(run.accuracy for run in outcomes)


def first_steps(outcomes: Sequence[Outcome]) -> str:
    """Return the first steps at which the loss was below 2, with slashes between them; "not in N" if it never was."""
    steps = [len(run.metrics) * run.spec.steps_per_epoch for run in outcomes]
    firsts = [run.first_step_below_2 for run in outcomes]
    return " / ".join(
        f"not in {step}" if first is None else str(first) for first, step in zip(firsts, steps, strict=True)
    )


def listed(values: Iterable[object], form: str = "") -> str:
    """Return values with slashes between them."""
    return " / ".join(format(value, form) for value in values)
