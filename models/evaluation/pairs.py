"""Two groups of models: differences on the same seeds and images, tests, and what they show in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.evaluation.intervals import LEVEL, MeanInterval, Part, binomial_se, mean_interval, mean_p
from models.evaluation.multiple_tests import dunnett_p, holm, student_t
from models.spec import TrainSpec

LEAST_P_SAID = 1e-12
MIN_SEEDS = 3
"""With two seeds the difference of the differences is one number: no verdict about schemes is based on it."""

Adjustment = Literal["holm", "dunnett"]


class Mcnemar(Part):
    """McNemar's test of two models on the same images."""

    seed: int
    only_first_right: int = Field(description="Images that only the first model has right.")
    only_second_right: int
    p_value: float = Field(
        description="Exact, two-sided: chance of a split at least this uneven if both models are equally good."
    )


class Pair(Part):
    """Two groups, compared on the seeds that both have."""

    first: dict[str, Any]
    second: dict[str, Any]
    seeds: list[int]
    accuracy_difference: MeanInterval = Field(description="First minus second, seed by seed.")
    p_value: float | None = Field(
        description="Paired test of the difference, against chance in seeds and test images, for this pair alone; null "
        f"below {MIN_SEEDS} seeds."
    )
    p_adjusted: float | None = Field(description="The same, adjusted for all pairs that are compared; see adjustment.")
    adjustment: Adjustment = Field(
        description="holm: for all pairs of groups; dunnett: for all groups against the baseline."
    )
    mcnemar: list[Mcnemar] = Field(description="By seed, where it is known which images each model has right.")
    verdict: str = Field(description="The result of the comparison, in words.")


class Compared(NamedTuple):
    """The data of a member that a comparison uses.

    `right` bool [n_images] says which images the model has right; None where that is not known.
    """

    spec: TrainSpec
    accuracy: float
    evaluated_on: str
    n_images: int
    final_train_loss: float | None
    first_step_below_2: int | None
    right: NDArray[np.bool_] | None
    validation_accuracy: float | None = None


class Named(NamedTuple):
    """A group: its name, the fields in which it differs from others, and its members."""

    name: str
    label: dict[str, Any]
    members: Sequence[Compared]


class _Difference(NamedTuple):
    first: Named
    second: Named
    both: list[tuple[Compared, Compared]]
    interval: MeanInterval
    p_value: float | None
    tests: list[Mcnemar]


def compare_pairs(pairs: Sequence[tuple[Named, Named]], adjustment: Adjustment) -> list[Pair]:
    """Return the comparison of each pair that has a common seed; their tests are adjusted for one another."""
    found = [difference for pair in pairs if (difference := _difference(*pair)) is not None]
    tested = [one for one in found if one.p_value is not None]
    if adjustment == "holm":
        adjusted = holm([one.p_value for one in tested if one.p_value is not None])
    else:
        adjusted = [_by_dunnett(one, len(tested)) for one in tested]
    by_pair = {id(one): p_value for one, p_value in zip(tested, adjusted, strict=True)}
    return [_pair(one, by_pair.get(id(one)), adjustment, len(tested)) for one in found]


def _difference(first: Named, second: Named) -> _Difference | None:
    by_seed = [{member.spec.seed: member for member in group.members} for group in (first, second)]
    seeds = sorted(set(by_seed[0]) & set(by_seed[1]))
    both = [(by_seed[0][seed], by_seed[1][seed]) for seed in seeds]
    both = [(member, counterpart) for member, counterpart in both if member.evaluated_on == counterpart.evaluated_on]
    if not both:
        return None
    values = [member.accuracy - counterpart.accuracy for member, counterpart in both]
    se_of_images = _se_of_images(both)
    interval = mean_interval(values, se_of_images, within=(-1.0, 1.0))
    p_value = mean_p(values, se_of_images) if len(both) >= MIN_SEEDS else None
    tests = [
        _mcnemar(member, counterpart)
        for member, counterpart in both
        if member.right is not None and counterpart.right is not None
    ]
    return _Difference(first, second, both, interval, p_value, tests)


def _by_dunnett(found: _Difference, comparisons: int) -> float:
    """Return Dunnett's p of the t that has the same p for these seeds alone."""
    assert found.p_value is not None
    degrees = len(found.both) - 1
    return dunnett_p(student_t(found.p_value, degrees), comparisons, degrees)


def _se_of_images(both: Sequence[tuple[Compared, Compared]]) -> float:
    """Return the standard error that the choice of the test images gives to the mean difference.

    Seeds that were evaluated on other images add up independently: sqrt(sum (share of the seeds x error)^2).
    """
    by_images: dict[tuple[str, int], list[tuple[Compared, Compared]]] = {}
    for pair in both:
        by_images.setdefault((pair[0].evaluated_on, pair[0].n_images), []).append(pair)
    return math.hypot(*(len(part) / len(both) * _se_of_same_images(part) for part in by_images.values()))


def _se_of_same_images(both: Sequence[tuple[Compared, Compared]]) -> float:
    """Return the same of seeds that were evaluated on the same images.

    Of the differences image by image, averaged over the seeds, where they are known: sd / sqrt(n). Otherwise, as if
    both models were right on independent images: sqrt(p (1 - p) / n + q (1 - q) / n).
    """
    rights = [(one.right, other.right) for one, other in both if one.right is not None and other.right is not None]
    if len(rights) == len(both):
        by_image = np.mean([one.astype(np.int8) - other.astype(np.int8) for one, other in rights], axis=0)
        return float(by_image.std(ddof=1) / math.sqrt(len(by_image))) if len(by_image) > 1 else 0.0
    first, second = (fmean(pair[place].accuracy for pair in both) for place in (0, 1))
    return math.hypot(*(binomial_se(share, both[0][0].n_images) for share in (first, second)))


def _pair(found: _Difference, p_adjusted: float | None, adjustment: Adjustment, tested: int) -> Pair:
    how = f"{adjustment.capitalize()}-adjusted for {tested} pair{'s' * (tested != 1)}"
    return Pair(
        first=found.first.label,
        second=found.second.label,
        seeds=[member.spec.seed for member, _ in found.both],
        accuracy_difference=found.interval,
        p_value=found.p_value,
        p_adjusted=p_adjusted,
        adjustment=adjustment,
        mcnemar=found.tests,
        verdict=_verdict(found, p_adjusted, how),
    )


def _verdict(found: _Difference, p_adjusted: float | None, how: str) -> str:
    """Return in words what a difference shows: by the adjusted test over seeds, by McNemar's test for one seed."""
    difference, seeds = found.interval, len(found.both)
    is_first = difference.mean >= 0
    better, worse = (found.first.name, found.second.name) if is_first else (found.second.name, found.first.name)
    points = f"{100 * abs(difference.mean):.2f} points of accuracy"
    if p_adjusted is None or difference.low is None or difference.high is None:
        return _verdict_of_few_seeds(better, worse, points, seeds, found.tests)
    low, high = (difference.low, difference.high) if is_first else (-difference.high, -difference.low)
    facts = f"95 % interval of this pair {100 * low:.2f} to {100 * high:.2f}; p {_p_in_words(p_adjusted)}, {how}"
    if p_adjusted < 1 - LEVEL:
        return f"{better} is better than {worse}: by {points} on average over {seeds} seeds ({facts})."
    return (
        f"Cannot tell {found.first.name} and {found.second.name} apart: {better} is ahead by {points} on average over "
        f"{seeds} seeds, which seeds and test images can explain ({facts})."
    )


def _verdict_of_few_seeds(better: str, worse: str, points: str, seeds: int, tests: Sequence[Mcnemar]) -> str:
    many = "its one seed" if seeds == 1 else f"{seeds} seeds"
    ahead = f"With {many} {better} is ahead of {worse} by {points}"
    more = f"Cannot tell the schemes apart: train at least {MIN_SEEDS} seeds."
    if seeds > 1 or not tests:
        return f"{ahead}. {more}"
    p_value = tests[0].p_value
    chance = "more than the choice of test images explains" if p_value < 1 - LEVEL else "no more than chance"
    return f"{ahead}: {chance} for these two models (McNemar p {_p_in_words(p_value)}). {more}"


def _p_in_words(p_value: float) -> str:
    """Return "= .012"; of a p so small that it is computed as 0, or nearly, only that it is below 1e-12."""
    return f"= {p_value:.2g}" if p_value >= LEAST_P_SAID else f"< {LEAST_P_SAID:.0e}"


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test.

    min(1, 2 P(X <= min)), where X is binomial(n, 1/2) and n the number of images that exactly one model has right.
    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def _mcnemar(first: Compared, second: Compared) -> Mcnemar:
    assert first.right is not None
    assert second.right is not None
    only_first = int((first.right & ~second.right).sum())
    only_second = int((second.right & ~first.right).sum())
    return Mcnemar(
        seed=first.spec.seed,
        only_first_right=only_first,
        only_second_right=only_second,
        p_value=mcnemar_p(only_first, only_second),
    )
