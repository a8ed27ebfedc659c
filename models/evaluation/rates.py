"""Compare each scheme at its own best learning rate, chosen on validation images.

A rate that suits one scheme is too small or too large for another, so that a comparison at one rate compares rates. Of
every group of members that differ in rate and seed alone, the rate with the highest mean validation accuracy after the
last epoch is kept. Test images play no part in the choice, so that tests on them stay valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from pydantic import Field

from models.evaluation.intervals import MeanInterval, Part, binomial_se, mean_interval
from models.evaluation.pairs import Compared
from models.evaluation.spec_labels import flattened, short_names
from models.spec import TrainSpec

RATE = "optimizer.lr"
FINEST_FACTOR = 1.1
LEAST_RATE, MOST_RATE = 1e-8, 10.0


class RateTried(Part):
    """One learning rate of one group."""

    group: str = Field(description="Name of the group that is compared at its chosen rate.")
    rate: float
    n: int = Field(description="Seeds that have succeeded at this rate.")
    validation_accuracy: MeanInterval | None = Field(description="After the last epoch; null without any.")
    chosen: bool = Field(description="Whether the group is compared at this rate.")
    at_edge: bool = Field(
        description="Whether this is the chosen rate and the lowest or highest tried: a better one may be beyond."
    )


class BestRates(NamedTuple):
    """The members at the chosen rates, all rates that were tried, and the name of the group of a spec."""

    members: list[Compared]
    sweep: list[RateTried]
    names: Mapping[str, str]

    def name_of(self, spec: TrainSpec) -> str:
        """Return the name of a spec's group, which is the same whatever rates are chosen."""
        return self.names[_without_rate(spec)]


def at_best_rates(
    members: Sequence[Compared], specs: Sequence[TrainSpec], unfinished: Sequence[TrainSpec] = ()
) -> BestRates:
    """Return the members at the best rate of their group, and all rates by group and rate.

    `specs` are those of all members, of those without a result too; `unfinished` those of members that may still
    succeed, whose groups have no choice yet. A rate at which fewer seeds succeeded than at another is not chosen; of
    equally good rates the lower is. Without validation accuracies a group loses its members.
    """
    groups = _grouped(members, specs)
    firsts: dict[str, TrainSpec] = {}
    for spec in specs:
        firsts.setdefault(_without_rate(spec), spec)
    labels = short_names([{**flattened(spec), RATE: None} for spec in firsts.values()])
    names = dict(zip(firsts, labels, strict=True))
    open_groups = {_without_rate(spec) for spec in unfinished}
    kept: list[Compared] = []
    tried: list[RateTried] = []
    for key, of_rate in groups.items():
        best = None if key in open_groups else _best(of_rate)
        kept += [] if best is None else of_rate[best]
        rates = sorted(of_rate)
        tried += [_tried(names[key], rate, of_rate[rate], rates, is_best=rate == best) for rate in rates]
    return BestRates(kept, tried, names)


def refined(members: Sequence[Compared], specs: Sequence[TrainSpec]) -> list[TrainSpec]:
    """Return specs at rates around the best one of each group, by `finer_rates`, with the seeds that it has results of.

    `specs` are those of members that have ended and were really tried; a group without a choice gets none.
    """
    found = []
    for of_rate in _grouped(members, specs).values():
        best = _best(of_rate)
        if best is None:
            continue
        # Other seeds would make the new rates win by their number: see `_best`.
        found += [
            member.spec.model_copy(update={"optimizer": member.spec.optimizer.model_copy(update={"lr": rate})})
            for rate in finer_rates(list(of_rate), best)
            for member in of_rate[best]
        ]
    return found


def finer_rates(rates: Sequence[float], best: float) -> list[float]:
    """Return rates around the best of some: the geometric mean of it and each neighbour, at an edge one step beyond.

    The step beyond is that to the other neighbour, half a decade if there is none. Rates have three digits; none is
    nearer to the best than by a factor of 1.1, and none leaves the range that an optimizer takes.
    """
    ordered = sorted(rates)
    place = ordered.index(best)
    below = ordered[place - 1] if place > 0 else None
    above = ordered[place + 1] if place + 1 < len(ordered) else None
    step = above / best if above else best / below if below else math.sqrt(10)
    candidates = (
        math.sqrt(best * below) if below else best / step,
        math.sqrt(best * above) if above else best * step,
    )
    rounded = [float(f"{rate:.3g}") for rate in candidates if LEAST_RATE <= rate <= MOST_RATE]
    return [rate for rate in rounded if rate not in rates and max(rate / best, best / rate) >= FINEST_FACTOR]


def _grouped(members: Sequence[Compared], specs: Sequence[TrainSpec]) -> dict[str, dict[float, list[Compared]]]:
    """Return the members by group and rate, in the order of `specs`; a rate without a result has none."""
    groups: dict[str, dict[float, list[Compared]]] = {}
    for spec in specs:
        groups.setdefault(_without_rate(spec), {}).setdefault(spec.optimizer.lr, [])
    for member in members:
        groups[_without_rate(member.spec)][member.spec.optimizer.lr].append(member)
    return groups


def _best(of_rate: dict[float, list[Compared]]) -> float | None:
    most = max((len(found) for found in of_rate.values()), default=0)
    scores = {
        rate: fmean(accuracies)
        for rate, found in of_rate.items()
        if len(accuracies := _validated(found)) == most and most > 0
    }
    return max(scores, key=lambda rate: (scores[rate], -rate)) if scores else None


def _tried(name: str, rate: float, found: Sequence[Compared], rates: Sequence[float], *, is_best: bool) -> RateTried:
    accuracies = _validated(found)
    floor = binomial_se(fmean(accuracies), found[0].spec.validation_images) if accuracies else 0.0
    return RateTried(
        group=name,
        rate=rate,
        n=len(found),
        validation_accuracy=mean_interval(accuracies, floor, within=(0.0, 1.0)) if accuracies else None,
        chosen=is_best,
        at_edge=is_best and len(rates) > 1 and rate in (rates[0], rates[-1]),
    )


def _validated(found: Sequence[Compared]) -> list[float]:
    return [one.validation_accuracy for one in found if one.validation_accuracy is not None]


def _without_rate(spec: TrainSpec) -> str:
    return spec.model_dump_json(exclude={"seed": True, "optimizer": {"lr"}})
