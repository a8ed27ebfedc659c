"""Compare groups of trained models: means with intervals, differences on the same seeds, exact tests. No torch, no SQL.

An accuracy on 10,000 images has a standard error (.14 points at 98 %). Two models are therefore compared image by image
(McNemar), two schemes seed by seed (paired differences, adjusted for all pairs), never by two independent intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from pydantic import Field

from models.errors import InvalidSpec
from models.evaluation.intervals import MeanInterval, Part, binomial_se, mean_interval
from models.evaluation.pairs import Compared, Named, Pair, compare_pairs
from models.evaluation.rates import BestRates, RateTried
from models.evaluation.spec_labels import differing_fields, flattened, short_names

MAX_GROUPS_PAIRED = 64


class Group(Part):
    """The members of an experiment that differ only in their seed."""

    name: str = Field(description="Short label: the scheme, and the fields that distinguish groups of this scheme.")
    label: dict[str, Any] = Field(description="The fields of the spec in which groups differ.")
    n: int
    seeds: list[int]
    accuracy: MeanInterval
    final_train_loss: MeanInterval | None
    first_step_below_2: list[int | None] = Field(description="By seed; null if the loss never was below 2.")


class Comparison(Part):
    """The comparison of an experiment's succeeded members."""

    object: Literal["comparison"] = "comparison"
    evaluated_on: str | None = Field(description="The images that accuracies are measured on; null if members differ.")
    n_images: int | None
    differing_fields: list[str]
    groups: list[Group]
    rates: Literal["all", "best"] = Field(
        "all", description="best: every group is compared at its own best learning rate, chosen on validation images."
    )
    sweep: list[RateTried] = Field([], description="With rates=best: every learning rate that was tried.")
    baseline: str | None = Field(description="The group that all others are compared with; null: all pairs.")
    pairs: list[Pair]
    pairs_left_out: int = Field(
        0,
        description=f"Pairs that are not compared: there are more than {MAX_GROUPS_PAIRED} groups, and no baseline.",
    )


def compare(members: Sequence[Compared], baseline: str | None = None, best: BestRates | None = None) -> Comparison:
    """Return the comparison of members, grouped by their specs without the seed, in the order of the members.

    With `best` the members are those at the best rates, and groups have the names of the sweep. Without a `baseline`
    all pairs of up to `MAX_GROUPS_PAIRED` groups are compared, and their p-values adjusted by Holm's method; with the
    name of a group all others are compared with it, by Dunnett's. Raises `InvalidSpec` if no group has this name.
    """
    members = members if best is None else best.members
    flat = [flattened(member.spec) for member in members]
    fields = differing_fields(flat)
    groups: dict[str, list[Compared]] = {}
    for member in members:
        groups.setdefault(member.spec.model_dump_json(exclude={"seed"}), []).append(member)
    firsts = [flattened(group[0].spec) for group in groups.values()]
    names = short_names(firsts) if best is None else [best.name_of(group[0].spec) for group in groups.values()]
    named = [
        Named(name, {field: first.get(field) for field in fields}, group)
        for name, first, group in zip(names, firsts, groups.values(), strict=True)
    ]
    left_out = math.comb(len(named), 2) if baseline is None and len(named) > MAX_GROUPS_PAIRED else 0
    judged = {(member.evaluated_on, member.n_images) for member in members}
    evaluated_on, n_images = judged.pop() if len(judged) == 1 else (None, None)
    return Comparison(
        evaluated_on=evaluated_on,
        n_images=n_images,
        differing_fields=fields,
        groups=[_group(one) for one in named],
        rates="all" if best is None else "best",
        sweep=[] if best is None else best.sweep,
        baseline=baseline,
        pairs=[] if left_out else _pairs(named, baseline),
        pairs_left_out=left_out,
    )


def _pairs(groups: Sequence[Named], baseline: str | None) -> list[Pair]:
    if baseline is None:
        return compare_pairs(list(combinations(groups, 2)), "holm")
    base = next((group for group in groups if group.name == baseline), None)
    if base is None:
        names = ", ".join(group.name for group in groups) or "none yet"
        raise InvalidSpec(f"No group has the name {baseline!r}.", f"The groups are: {names}.")
    return compare_pairs([(group, base) for group in groups if group is not base], "dunnett")


def _group(group: Named) -> Group:
    ordered = sorted(group.members, key=lambda member: member.spec.seed)
    losses = [member.final_train_loss for member in ordered if member.final_train_loss is not None]
    accuracies = [member.accuracy for member in ordered]
    floor = max(binomial_se(fmean(accuracies), member.n_images) for member in ordered)
    return Group(
        name=group.name,
        label=group.label,
        n=len(ordered),
        seeds=[member.spec.seed for member in ordered],
        accuracy=mean_interval(accuracies, floor, within=(0.0, 1.0)),
        final_train_loss=mean_interval(losses, within=(0.0, math.inf)) if losses else None,
        first_step_below_2=[member.first_step_below_2 for member in ordered],
    )
