"""Compare groups of trained models: means with intervals, differences on the same seeds, exact tests. No torch, no SQL.

An accuracy on the same 10,000 images has a standard error of its own (.14 points at 98 %), so two models are compared
image by image (McNemar), and two schemes seed by seed (paired differences), never by two independent intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.spec import TrainSpec

LEVEL = 0.95


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeanInterval(_Part):
    """The mean of some numbers, and where it would be for many."""

    mean: float
    sd: float | None = Field(description="Standard deviation; null for one number.")
    low: float | None = Field(description="Student's 95 % interval of the mean; null for one number.")
    high: float | None


class Mcnemar(_Part):
    """Two models on the same images."""

    seed: int
    only_first_right: int = Field(description="Images that only the first model has right.")
    only_second_right: int
    p_value: float = Field(
        description="Exact, two-sided: chance of a split so uneven, or more, if both are equally good."
    )


class Group(_Part):
    """The members of an experiment that differ in nothing but their seed."""

    name: str = Field(description="The label in short, with only what tells it from the other groups.")
    label: dict[str, Any] = Field(description="The fields of the spec in which groups differ.")
    n: int
    seeds: list[int]
    accuracy: MeanInterval
    final_train_loss: MeanInterval | None
    first_step_below_2: list[int | None] = Field(description="By seed; null if the loss never was.")


class Pair(_Part):
    """Two groups on the seeds that both have."""

    first: dict[str, Any]
    second: dict[str, Any]
    seeds: list[int]
    accuracy_difference: MeanInterval = Field(description="First less second, seed by seed.")
    mcnemar: list[Mcnemar] = Field(description="Where it is known which images each model has right.")
    verdict: str = Field(description="What this says of the two, in words.")


class Comparison(_Part):
    """An experiment's members that have succeeded, side by side."""

    object: Literal["comparison"] = "comparison"
    evaluated_on: str | None = Field(description="Which images the accuracies are of; null if members differ.")
    n_images: int | None
    differing_fields: list[str]
    groups: list[Group]
    pairs: list[Pair]


class Compared(NamedTuple):
    """What a comparison needs of a member."""

    spec: TrainSpec
    accuracy: float
    evaluated_on: str
    n_images: int
    final_train_loss: float | None
    first_step_below_2: int | None
    right: NDArray[np.bool_] | None


def compare(members: Sequence[Compared]) -> Comparison:
    """Return the comparison of members, grouped by all of their specs but the seed, in the order they are given in."""
    flat = [flattened(one.spec) for one in members]
    fields = differing_fields(flat)
    groups: dict[str, list[Compared]] = {}
    for one in members:
        groups.setdefault(one.spec.model_dump_json(exclude={"seed"}), []).append(one)
    labels = [{name: flattened(group[0].spec).get(name) for name in fields} for group in groups.values()]
    names = short_names([flattened(group[0].spec) for group in groups.values()])
    listed = list(groups.values())
    judged = {(one.evaluated_on, one.n_images) for one in members}
    evaluated_on, n_images = judged.pop() if len(judged) == 1 else (None, None)
    return Comparison(
        evaluated_on=evaluated_on,
        n_images=n_images,
        differing_fields=fields,
        groups=[_group(*named) for named in zip(names, labels, listed, strict=True)],
        pairs=[
            pair
            for first, second in combinations(zip(names, labels, listed, strict=True), 2)
            if (pair := _pair(first, second)) is not None
        ],
    )


def flattened(spec: TrainSpec) -> dict[str, Any]:
    """Return the fields of a spec by dotted names, such as `init.gain`."""
    found: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, below in value.items():
                visit(f"{prefix}.{name}" if prefix else name, below)
        else:
            found[prefix] = value

    visit("", spec.model_dump(mode="json"))
    return found


def differing_fields(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names, but for the seed, under which not all have the same value."""
    names = list(dict.fromkeys(name for one in flat for name in one))
    return [name for name in names if name != "seed" and len({repr(one.get(name)) for one in flat}) > 1]


def short_names(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each flattened spec: its scheme, and of the other fields those that tell equal schemes apart.

    Specs that differ in more than their seed have different names.
    """
    schemes = {one["init.scheme"] for one in flat}
    told = {scheme: differing_fields([one for one in flat if one["init.scheme"] == scheme]) for scheme in schemes}
    return [", ".join([one["init.scheme"], *_fields_shown(one, told[one["init.scheme"]])]) for one in flat]


def _fields_shown(flat: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [f"{name.rpartition('.')[2]} {_format_value(flat[name])}" for name in names if flat.get(name) is not None]


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} x {value[0]}" if len(set(value)) == 1 else "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return mean, standard deviation and Student's interval: mean +- t s / sqrt(n), n - 1 degrees of freedom."""
    mean = fmean(values)
    if len(values) < 2:
        return MeanInterval(mean=mean, sd=None, low=None, high=None)
    from scipy.special import stdtrit

    sd = stdev(values)
    half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * sd / math.sqrt(len(values))
    return MeanInterval(mean=mean, sd=sd, low=mean - half, high=mean + half)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test.

    min(1, 2 P(X <= min)), where X is binomial(n, 1/2) and n the number of images that one model alone has right.
    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def _group(name: str, label: dict[str, Any], members: Sequence[Compared]) -> Group:
    ordered = sorted(members, key=lambda one: one.spec.seed)
    losses = [one.final_train_loss for one in ordered if one.final_train_loss is not None]
    return Group(
        name=name,
        label=label,
        n=len(ordered),
        seeds=[one.spec.seed for one in ordered],
        accuracy=mean_interval([one.accuracy for one in ordered]),
        final_train_loss=mean_interval(losses) if losses else None,
        first_step_below_2=[one.first_step_below_2 for one in ordered],
    )


def _pair(
    first: tuple[str, dict[str, Any], Sequence[Compared]], second: tuple[str, dict[str, Any], Sequence[Compared]]
) -> Pair | None:
    (first_name, first_label, _), (second_name, second_label, _) = first, second
    by_seed = [{one.spec.seed: one for one in group} for _, _, group in (first, second)]
    seeds = sorted(set(by_seed[0]) & set(by_seed[1]))
    both = [(by_seed[0][seed], by_seed[1][seed]) for seed in seeds]
    both = [(one, other) for one, other in both if one.evaluated_on == other.evaluated_on]
    if not both:
        return None
    difference = mean_interval([one.accuracy - other.accuracy for one, other in both])
    tests = [_mcnemar(one, other) for one, other in both if one.right is not None and other.right is not None]
    return Pair(
        first=first_label,
        second=second_label,
        seeds=[one.spec.seed for one, _ in both],
        accuracy_difference=difference,
        mcnemar=tests,
        verdict=_verdict(first_name, second_name, len(both), difference, tests),
    )


def _verdict(first: str, second: str, seeds: int, difference: MeanInterval, tests: Sequence[Mcnemar]) -> str:
    """Say in words what a difference shows: over seeds by its interval, of one seed by McNemar's test."""
    better, worse = (first, second) if difference.mean >= 0 else (second, first)
    points = f"{100 * abs(difference.mean):.2f} points of accuracy"
    if difference.low is None or difference.high is None:
        return _verdict_of_one_seed(better, worse, points, tests)
    low, high = (difference.low, difference.high) if better == first else (-difference.high, -difference.low)
    interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f}"
    if low > 0:
        return f"{better} is better than {worse}: by {points} on average over {seeds} seeds ({interval})."
    return (
        f"{seeds} seeds show no difference between {first} and {second}: {better} is ahead by {points} on average, "
        f"less than seeds alone can make ({interval})."
    )


def _verdict_of_one_seed(better: str, worse: str, points: str, tests: Sequence[Mcnemar]) -> str:
    ahead = f"With its one seed {better} is ahead of {worse} by {points}"
    more = "Train more seeds to see what the schemes make of it."
    if not tests:
        return f"{ahead}. {more}"
    p_value = tests[0].p_value
    chance = "more than the choice of test images explains" if p_value < 1 - LEVEL else "no more than chance"
    return f"{ahead}: {chance} (McNemar p = {p_value:.2g}). {more}"


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
