"""Compare groups of trained models: means with intervals, differences on the same seeds, exact tests. No torch, no SQL.

An accuracy on 10,000 images has a standard error (.14 points at 98 %). Two models are therefore compared image by image
(McNemar), and two schemes seed by seed (paired differences), never by two independent intervals.
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
    """The mean of some numbers, with its confidence interval."""

    mean: float
    sd: float | None = Field(description="Standard deviation; null for one number.")
    low: float | None = Field(description="Student's 95 % interval of the mean; null for one number.")
    high: float | None


class Mcnemar(_Part):
    """McNemar's test of two models on the same images."""

    seed: int
    only_first_right: int = Field(description="Images that only the first model has right.")
    only_second_right: int
    p_value: float = Field(
        description="Exact, two-sided: chance of a split at least this uneven if both models are equally good."
    )


class Group(_Part):
    """The members of an experiment that differ only in their seed."""

    name: str = Field(description="Short label: the scheme, and the fields that distinguish groups of this scheme.")
    label: dict[str, Any] = Field(description="The fields of the spec in which groups differ.")
    n: int
    seeds: list[int]
    accuracy: MeanInterval
    final_train_loss: MeanInterval | None
    first_step_below_2: list[int | None] = Field(description="By seed; null if the loss never was below 2.")


class Pair(_Part):
    """Two groups, compared on the seeds that both have."""

    first: dict[str, Any]
    second: dict[str, Any]
    seeds: list[int]
    accuracy_difference: MeanInterval = Field(description="First minus second, seed by seed.")
    mcnemar: list[Mcnemar] = Field(description="By seed, where it is known which images each model has right.")
    verdict: str = Field(description="The result of the comparison, in words.")


class Comparison(_Part):
    """The comparison of an experiment's succeeded members."""

    object: Literal["comparison"] = "comparison"
    evaluated_on: str | None = Field(description="The images that accuracies are measured on; null if members differ.")
    n_images: int | None
    differing_fields: list[str]
    groups: list[Group]
    pairs: list[Pair]


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


def compare(members: Sequence[Compared]) -> Comparison:
    """Return the comparison of members, grouped by their specs without the seed, in the order of the members."""
    flat = [flattened(member.spec) for member in members]
    fields = differing_fields(flat)
    groups: dict[str, list[Compared]] = {}
    for member in members:
        groups.setdefault(member.spec.model_dump_json(exclude={"seed"}), []).append(member)
    labels = [{name: flattened(group[0].spec).get(name) for name in fields} for group in groups.values()]
    names = short_names([flattened(group[0].spec) for group in groups.values()])
    listed = list(groups.values())
    judged = {(member.evaluated_on, member.n_images) for member in members}
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
    fields: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, below in value.items():
                visit(f"{prefix}.{name}" if prefix else name, below)
        else:
            fields[prefix] = value

    visit("", spec.model_dump(mode="json"))
    return fields


def differing_fields(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the fields, except the seed, in which the flattened specs differ."""
    names = list(dict.fromkeys(name for fields in flat for name in fields))
    return [name for name in names if name != "seed" and len({repr(fields.get(name)) for fields in flat}) > 1]


def short_names(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each flattened spec: its scheme, and the other fields in which specs of this scheme differ.

    Specs that differ in more than their seed have different names.
    """
    schemes = {spec["init.scheme"] for spec in flat}
    varying = {scheme: differing_fields([spec for spec in flat if spec["init.scheme"] == scheme]) for scheme in schemes}
    return [", ".join([spec["init.scheme"], *_fields_shown(spec, varying[spec["init.scheme"]])]) for spec in flat]


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

    min(1, 2 P(X <= min)), where X is binomial(n, 1/2) and n the number of images that exactly one model has right.
    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions.
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def _group(name: str, label: dict[str, Any], members: Sequence[Compared]) -> Group:
    ordered = sorted(members, key=lambda member: member.spec.seed)
    losses = [member.final_train_loss for member in ordered if member.final_train_loss is not None]
    return Group(
        name=name,
        label=label,
        n=len(ordered),
        seeds=[member.spec.seed for member in ordered],
        accuracy=mean_interval([member.accuracy for member in ordered]),
        final_train_loss=mean_interval(losses) if losses else None,
        first_step_below_2=[member.first_step_below_2 for member in ordered],
    )


def _pair(
    first: tuple[str, dict[str, Any], Sequence[Compared]], second: tuple[str, dict[str, Any], Sequence[Compared]]
) -> Pair | None:
    (first_name, first_label, _), (second_name, second_label, _) = first, second
    by_seed = [{member.spec.seed: member for member in group} for _, _, group in (first, second)]
    seeds = sorted(set(by_seed[0]) & set(by_seed[1]))
    both = [(by_seed[0][seed], by_seed[1][seed]) for seed in seeds]
    both = [(member, counterpart) for member, counterpart in both if member.evaluated_on == counterpart.evaluated_on]
    if not both:
        return None
    difference = mean_interval([member.accuracy - counterpart.accuracy for member, counterpart in both])
    tests = [
        _mcnemar(member, counterpart)
        for member, counterpart in both
        if member.right is not None and counterpart.right is not None
    ]
    return Pair(
        first=first_label,
        second=second_label,
        seeds=[member.spec.seed for member, _ in both],
        accuracy_difference=difference,
        mcnemar=tests,
        verdict=_verdict(first_name, second_name, len(both), difference, tests),
    )


def _verdict(first: str, second: str, seeds: int, difference: MeanInterval, tests: Sequence[Mcnemar]) -> str:
    """Return in words what a difference shows: by its interval over several seeds, by McNemar's test for one seed."""
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
        f"which seeds alone can explain ({interval})."
    )


def _verdict_of_one_seed(better: str, worse: str, points: str, tests: Sequence[Mcnemar]) -> str:
    ahead = f"With its one seed {better} is ahead of {worse} by {points}"
    more = "Train more seeds to compare the schemes."
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
