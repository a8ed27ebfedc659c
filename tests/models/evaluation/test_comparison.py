"""Groups, pairs and verdicts, against counts done by hand; and that equal schemes are not told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models.errors import InvalidSpec
from models.evaluation.comparison import compare
from models.evaluation.pairs import Compared
from models.evaluation.spec_labels import flattened, short_names
from models.init.base import Scheme
from models.init.by_fans import HeNormal, XavierUniform
from models.init.constants import Zeros
from models.network.architecture import Architecture
from models.spec import TrainSpec


def member(
    scheme: Scheme, seed: int, accuracy: float, right: list[int] | None = None, on: str = "mnist_test"
) -> Compared:
    spec = TrainSpec(init=scheme, seed=seed)
    n_images = 10_000 if right is None else len(right)
    return Compared(spec, accuracy, on, n_images, 0.1, 14, None if right is None else np.array(right, dtype=bool))


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


def test_seeds_on_other_images_are_compared_each_on_its_own() -> None:
    """Of two seeds on 4 images and one on 2, each weighs a third; errors add up as sqrt(sum (share x se)^2)."""
    found = compare(
        [
            member(HeNormal(), 0, 0.75, [1, 1, 1, 0]),
            member(HeNormal(), 1, 1.0, [1, 1, 1, 1]),
            member(HeNormal(), 2, 1.0, [1, 1], on="mnist_5k_held_out"),
            member(XavierUniform(), 0, 0.5, [0, 1, 0, 1]),
            member(XavierUniform(), 1, 0.5, [1, 0, 0, 1]),
            member(XavierUniform(), 2, 0.5, [0, 1], on="mnist_5k_held_out"),
        ]
    )
    (pair,) = found.pairs
    assert (found.evaluated_on, pair.seeds) == (None, [0, 1, 2])
    assert pair.accuracy_difference.mean == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    of_four, of_two = np.std([0.5, 0.5, 1, -0.5], ddof=1) / 2, np.std([1, 0], ddof=1) / math.sqrt(2)
    floor = math.hypot(2 / 3 * of_four, of_two / 3)
    sd = np.std([0.25, 0.5, 0.5], ddof=1) / math.sqrt(3)
    half = math.hypot(stats.t.ppf(0.975, 2) * sd, stats.norm.ppf(0.975) * floor)
    assert pair.accuracy_difference.low == pytest.approx(max(-1, 1.25 / 3 - half))
    unknown = [one._replace(right=None) for one in (member(HeNormal(), 0, 0.9), member(XavierUniform(), 0, 0.8))]
    assert compare(unknown).pairs[0].accuracy_difference.mean == pytest.approx(0.1)


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
    ahead = verdict([0.98, 0.981, 0.979], [0.950, 0.952, 0.951])
    assert ahead.startswith(
        "he_normal is better than xavier_uniform: by 2.90 points of accuracy on average over 3 seeds"
    )
    behind = verdict([0.950, 0.952, 0.951], [0.98, 0.981, 0.979])
    assert behind.startswith("xavier_uniform is better than he_normal: by 2.90 points")
    intervals = [text[text.index("(") :] for text in (ahead, behind)]
    assert intervals[0] == intervals[1]


def test_what_chance_can_explain_is_no_verdict() -> None:
    said = verdict([0.98, 0.97, 0.99], [0.97, 0.98, 0.98])
    assert said.startswith("Cannot tell he_normal and xavier_uniform apart: he_normal is ahead by 0.33")


def test_two_seeds_that_agree_are_no_verdict() -> None:
    said = verdict([0.98, 0.98], [0.97, 0.97])
    assert said == (
        "With 2 seeds he_normal is ahead of xavier_uniform by 1.00 points of accuracy. Cannot tell the schemes apart: "
        "train at least 3 seeds."
    )


def test_differences_that_are_equal_by_chance_have_the_width_that_the_test_images_give() -> None:
    members = [
        Compared(TrainSpec(init=scheme, seed=seed), accuracy, "mnist_test", 10_000, None, None, None)
        for scheme, accuracy in ((HeNormal(), 0.981), (XavierUniform(), 0.980))
        for seed in range(3)
    ]
    (pair,) = compare(members).pairs
    se = math.sqrt(0.981 * 0.019 / 10_000 + 0.980 * 0.020 / 10_000)
    assert pair.accuracy_difference.sd == pytest.approx(0, abs=1e-12)
    assert pair.accuracy_difference.high == pytest.approx(0.001 + 1.959964 * se, rel=1e-3)
    assert pair.verdict.startswith("Cannot tell")


def test_a_baseline_is_compared_with_all_others_and_must_be_there() -> None:
    members = [
        member(scheme, seed, accuracy + seed / 1000)
        for scheme, accuracy in ((HeNormal(), 0.98), (XavierUniform(), 0.97), (Zeros(), 0.11))
        for seed in range(3)
    ]
    found = compare(members, "xavier_uniform")
    assert found.baseline == "xavier_uniform"
    assert [(pair.first["init.scheme"], pair.adjustment) for pair in found.pairs] == [
        ("he_normal", "dunnett"),
        ("zeros", "dunnett"),
    ]
    assert "Dunnett-adjusted for 2 pairs" in found.pairs[0].verdict
    assert {pair.adjustment for pair in compare(members).pairs} == {"holm"}
    with pytest.raises(InvalidSpec, match="No group has the name 'orthogonal'"):
        compare(members, "orthogonal")


def test_an_interval_stays_within_what_is_possible() -> None:
    members = [member(HeNormal(), seed, accuracy) for seed, accuracy in enumerate((0.999, 1.0, 0.98))]
    losses = [one._replace(final_train_loss=loss) for one, loss in zip(members, (0.001, 0.0, 0.3), strict=True)]
    (group,) = compare(losses).groups
    assert group.accuracy.high == 1.0
    assert group.final_train_loss is not None
    assert group.final_train_loss.low == 0.0


def false_verdicts(repetitions: int, seeds: int = 3, images: int = 400) -> int:
    """How often one of 21 equal schemes is called better than another."""
    random = np.random.default_rng(0)
    specs = [
        [TrainSpec(init=XavierUniform(gain=1 + group / 100), seed=seed) for seed in range(seeds)] for group in range(21)
    ]
    found = 0
    for _ in range(repetitions):
        rates = 0.98 + random.normal(0, 0.001, (21, seeds, 1))
        rights = random.random((21, seeds, images)) < rates
        members = [
            Compared(specs[group][seed], float(right.mean()), "x", images, None, None, right)
            for group in range(21)
            for seed, right in enumerate(rights[group])
        ]
        found += any("is better than" in pair.verdict for pair in compare(members).pairs)
    return found


def test_of_21_equal_schemes_hardly_ever_one_is_called_better() -> None:
    """210 pairs each time; without adjustment, about ten of them would be called different."""
    assert false_verdicts(10) <= 2  # 5 % of 10 is .5, and more than 2 has a chance of 1.2 %; of 200: see the docs


def test_a_verdict_on_one_seed_rests_on_the_images_and_asks_for_more_seeds() -> None:
    alike = verdict([0.75], [0.5], ([1, 1, 1, 0], [0, 1, 0, 1]))
    assert "no more than chance for these two models (McNemar p = 1)" in alike
    assert "train at least 3 seeds" in alike
    better = verdict([1.0], [0.0], ([1] * 10, [0] * 10))
    assert "more than the choice of test images explains for these two models (McNemar p = 0.002)" in better
    far = verdict([1.0], [0.0], ([1] * 2000, [0] * 2000))
    assert "(McNemar p < 1e-12)" in far, "a probability of 0 is said"
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
