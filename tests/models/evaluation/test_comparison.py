"""Means, intervals, paired differences and McNemar's test, against tables and counts done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.evaluation.comparison import Compared, compare, flattened, mcnemar_p, mean_interval, short_names
from models.init.base import Scheme
from models.init.by_fans import HeNormal, XavierUniform
from models.network.architecture import Architecture
from models.spec import TrainSpec


def member(
    scheme: Scheme, seed: int, accuracy: float, right: list[int] | None = None, on: str = "mnist_test"
) -> Compared:
    spec = TrainSpec(init=scheme, seed=seed)
    return Compared(spec, accuracy, on, 4, 0.1, 14, None if right is None else np.array(right, dtype=bool))


def test_the_interval_of_a_mean_is_students() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.sd == 1
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom, 97.5 %: any printed table
    assert found.low == pytest.approx(2 - half, rel=1e-6)
    assert found.high == pytest.approx(2 + half, rel=1e-6)


def test_one_number_has_no_interval() -> None:
    assert mean_interval([0.5]).model_dump() == {"mean": 0.5, "sd": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 2 * 11 / 1024), (0, 6, 2 / 64), (6, 0, 2 / 64)],
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int, expected: float) -> None:
    assert mcnemar_p(first, second) == pytest.approx(expected)


def test_groups_differ_in_more_than_the_seed_and_only_differing_fields_are_named() -> None:
    found = compare([member(HeNormal(), 0, 0.98), member(HeNormal(), 1, 0.96), member(XavierUniform(), 0, 0.95)])
    assert found.differing_fields == ["init.scheme", "init.mode", "init.negative_slope", "init.gain"]
    he, xavier = found.groups
    assert he.label["init.scheme"] == "he_normal"
    assert xavier.label == {
        "init.scheme": "xavier_uniform",
        "init.mode": None,
        "init.negative_slope": None,
        "init.gain": 1,
    }
    assert (he.n, he.seeds) == (2, [0, 1])
    assert he.accuracy.mean == pytest.approx(0.97)
    assert found.evaluated_on == "mnist_test"


def test_pairs_are_compared_on_the_same_seeds_and_images() -> None:
    found = compare(
        [
            member(HeNormal(), 0, 0.75, [1, 1, 1, 0]),
            member(HeNormal(), 1, 1.0, [1, 1, 1, 1]),
            member(HeNormal(), 7, 0.5, [1, 1, 0, 0]),
            member(XavierUniform(), 1, 0.5, [1, 0, 0, 1]),
            member(XavierUniform(), 0, 0.5, [0, 1, 0, 1]),
        ]
    )
    (pair,) = found.pairs
    assert pair.seeds == [0, 1]
    assert pair.accuracy_difference.mean == pytest.approx(0.375)
    assert [(one.only_first_right, one.only_second_right) for one in pair.mcnemar] == [(2, 1), (2, 0)]
    assert pair.mcnemar[0].p_value == 1.0
    assert pair.mcnemar[1].p_value == 0.5


def test_accuracies_of_different_images_are_not_compared() -> None:
    found = compare([member(HeNormal(), 0, 0.9), member(XavierUniform(), 0, 0.9, on="mnist_5k_held_out")])
    assert found.evaluated_on is None
    assert found.pairs == []


def test_nothing_to_compare_is_no_error() -> None:
    assert compare([]).groups == []


def verdict(first: list[float], second: list[float], right: tuple[list[int], list[int]] | None = None) -> str:
    """The verdict on two schemes with these accuracies, seed by seed."""
    members = [
        member(scheme, seed, accuracy, right and right[number])
        for number, (scheme, accuracies) in enumerate(((HeNormal(), first), (XavierUniform(), second)))
        for seed, accuracy in enumerate(accuracies)
    ]
    return compare(members).pairs[0].verdict


def test_a_verdict_names_the_better_one_where_the_interval_of_the_difference_leaves_out_zero() -> None:
    ahead = verdict([0.98, 0.981, 0.979], [0.970, 0.972, 0.971])
    assert ahead.startswith(
        "he_normal is better than xavier_uniform: by 0.90 points of accuracy on average over 3 seeds"
    )
    behind = verdict([0.970, 0.972, 0.971], [0.98, 0.981, 0.979])
    assert behind.startswith("xavier_uniform is better than he_normal: by 0.90 points")
    intervals = [text[text.index("(") :] for text in (ahead, behind)]
    assert intervals[0] == intervals[1]


def test_a_verdict_on_an_interval_with_zero_in_it_is_that_nothing_is_shown() -> None:
    said = verdict([0.98, 0.97, 0.99], [0.97, 0.98, 0.98])
    assert said.startswith(
        "3 seeds show no difference between he_normal and xavier_uniform: he_normal is ahead by 0.33"
    )


def test_a_verdict_on_one_seed_rests_on_the_images_and_asks_for_more_seeds() -> None:
    alike = verdict([0.75], [0.5], ([1, 1, 1, 0], [0, 1, 0, 1]))
    assert "no more than chance (McNemar p = 1)" in alike
    assert "Train more seeds" in alike
    better = verdict([1.0], [0.0], ([1] * 10, [0] * 10))
    assert "more than the choice of test images explains (McNemar p = 0.002)" in better
    assert verdict([0.9], [0.8]).startswith("With its one seed he_normal is ahead of xavier_uniform by 10.00 points")


def test_a_short_name_is_the_scheme_and_what_tells_equal_schemes_apart() -> None:
    specs = [
        TrainSpec(init=HeNormal()),
        TrainSpec(init=XavierUniform(gain=0.25), architecture=Architecture(hidden=(512,) * 10)),
        TrainSpec(init=XavierUniform(gain=4), architecture=Architecture(hidden=(256, 128))),
        TrainSpec(init=HeNormal(), seed=1),
    ]
    assert short_names([flattened(spec) for spec in specs]) == [
        "he_normal",
        "xavier_uniform, hidden 10 x 512, gain 0.25",
        "xavier_uniform, hidden 256-128, gain 4",
        "he_normal",
    ]
