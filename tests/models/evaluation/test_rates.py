"""The best learning rate of each scheme, chosen on validation images alone."""

from __future__ import annotations

import math

import pytest

from models.evaluation.comparison import compare
from models.evaluation.pairs import Compared
from models.evaluation.rates import at_best_rates, finer_rates, refined
from models.init.base import Scheme
from models.init.by_fans import HeNormal, XavierUniform
from models.spec import SGD, TrainSpec


def member(scheme: Scheme, rate: float, seed: int, validation: float | None, accuracy: float = 0.9) -> Compared:
    spec = TrainSpec(
        init=scheme, optimizer=SGD(lr=rate), seed=seed, validation_images=500, data="mnist_5k", test_curve=False
    )
    return Compared(spec, accuracy, "mnist_test", 1000, 0.1, 5, None, validation)


def test_each_scheme_is_compared_at_its_own_best_rate_by_validation_and_not_by_test_images() -> None:
    members = [
        member(scheme, rate, seed, validation, test)
        for scheme, rate, validation, test in (
            (HeNormal(), 0.01, 0.95, 0.80),
            (HeNormal(), 0.1, 0.90, 0.99),
            (HeNormal(), 1.0, 0.20, 0.20),
            (XavierUniform(), 0.01, 0.50, 0.50),
            (XavierUniform(), 0.1, 0.92, 0.91),
            (XavierUniform(), 1.0, 0.91, 0.95),
        )
        for seed in (0, 1, 2)
    ]
    best = at_best_rates(members, [one.spec for one in members])
    kept, sweep = best.members, best.sweep
    assert {(one.spec.init.scheme, one.spec.optimizer.lr) for one in kept} == {
        ("he_normal", 0.01),
        ("xavier_uniform", 0.1),
    }
    chosen = {one.group: one for one in sweep if one.chosen}
    assert (chosen["he_normal"].rate, chosen["he_normal"].at_edge) == (0.01, True)
    assert (chosen["xavier_uniform"].rate, chosen["xavier_uniform"].at_edge) == (0.1, False)
    assert len(sweep) == 6
    assert chosen["he_normal"].validation_accuracy is not None
    assert chosen["he_normal"].validation_accuracy.mean == pytest.approx(0.95)
    comparison = compare(members, best=best)
    assert (comparison.rates, comparison.sweep) == ("best", sweep)
    assert [group.name for group in comparison.groups] == list(chosen)
    assert [group.label["optimizer.lr"] for group in comparison.groups] == [0.01, 0.1]
    assert comparison.pairs[0].accuracy_difference.mean == pytest.approx(-0.11)


def test_a_rate_at_which_a_seed_diverged_is_not_chosen_and_still_shown() -> None:
    specs = [member(HeNormal(), rate, seed, None).spec for rate in (0.1, 1.0) for seed in (0, 1)]
    members = [member(HeNormal(), 0.1, seed, 0.8) for seed in (0, 1)] + [member(HeNormal(), 1.0, 0, 0.99)]
    kept, sweep, _ = at_best_rates(members, specs)
    assert {one.spec.optimizer.lr for one in kept} == {0.1}
    assert [(one.rate, one.n, one.chosen) for one in sweep] == [(0.1, 2, True), (1.0, 1, False)]


def test_of_equally_good_rates_the_lower_is_chosen() -> None:
    members = [member(HeNormal(), rate, 0, 0.9) for rate in (0.3, 0.1)]
    kept, _, _ = at_best_rates(members, [one.spec for one in members])
    assert [one.spec.optimizer.lr for one in kept] == [0.1]


def test_without_validation_accuracies_nothing_is_chosen() -> None:
    members = [member(HeNormal(), 0.1, 0, None)]
    kept, sweep, _ = at_best_rates(members, [one.spec for one in members])
    assert kept == []
    assert [(one.chosen, one.validation_accuracy) for one in sweep] == [(False, None)]


def test_nothing_is_chosen_for_a_group_that_still_trains() -> None:
    done = [member(HeNormal(), rate, 0, 0.9) for rate in (0.1, 0.3)]
    other = [member(XavierUniform(), rate, 0, 0.8) for rate in (0.1, 0.3)]
    waiting = [member(XavierUniform(), 1.0, 0, None).spec]
    kept, sweep, _ = at_best_rates([*done, *other], [*(one.spec for one in (*done, *other)), *waiting], waiting)
    assert {one.spec.init.scheme for one in kept} == {"he_normal"}
    assert [one.group for one in sweep if one.chosen] == ["he_normal"]


def test_the_names_of_groups_are_the_same_whatever_rates_are_chosen() -> None:
    members = [
        member(HeNormal(bias_value=bias, bias="constant"), rate, 0, 0.9 if rate == best else 0.5)
        for bias, best in ((0.1, 0.01), (0.2, 0.1))
        for rate in (0.01, 0.1)
    ]
    best_rates = at_best_rates(members, [one.spec for one in members])
    names = ["he_normal, bias_value 0.1", "he_normal, bias_value 0.2"]
    assert [group.name for group in compare(members, best=best_rates).groups] == names
    assert list(dict.fromkeys(one.group for one in best_rates.sweep)) == names


def test_more_groups_than_can_be_paired_are_compared_with_a_baseline_alone() -> None:
    members = [member(HeNormal(), rate / 1000, 0, None) for rate in range(1, 67)]
    found = compare(members)
    assert (len(found.groups), found.pairs, found.pairs_left_out) == (66, [], 66 * 65 // 2)
    of_baseline = compare(members, baseline="he_normal, lr 0.001")
    assert (len(of_baseline.pairs), of_baseline.pairs_left_out) == (65, 0)
    assert len(compare(members[:64]).pairs) == 64 * 63 // 2


def test_groups_whose_rates_are_nearly_equal_have_different_names() -> None:
    members = [member(HeNormal(), rate, 0, None) for rate in (0.1, 0.1000000001)]
    assert [group.name for group in compare(members).groups] == ["he_normal, lr 0.1", "he_normal, lr 0.1000000001"]


@pytest.mark.parametrize(
    ("rates", "best", "expected"),
    [
        ([0.001, 0.01, 0.1], 0.01, [0.00316, 0.0316]),
        ([0.001, 0.01, 0.1], 0.001, [0.0001, 0.00316]),  # a step as long as the other beyond the edge
        ([0.01, 0.1], 0.1, [0.0316, 1.0]),
        ([0.1], 0.1, [0.0316, 0.316]),
        ([1.0, 10.0], 10.0, [3.16]),  # no optimizer takes more
        ([1e-9], 1e-9, []),
        ([0.1, 0.105, 0.11], 0.105, []),
        ([0.1, 0.105, 1.0], 0.105, [0.324]),
    ],
)
def test_finer_rates_halve_the_distance_to_the_neighbours_of_the_best(
    rates: list[float], best: float, expected: list[float]
) -> None:
    assert finer_rates(rates, best) == expected


def test_again_and_again_they_close_in_on_the_best_rate() -> None:
    rates, peak = [1e-3, 1e-2, 1e-1], 0.027
    for _ in range(20):
        best = min(rates, key=lambda rate: abs(math.log(rate / peak)))
        finer = finer_rates(rates, best)
        if not finer:
            break
        rates += finer
    assert not finer
    assert abs(math.log(best / peak)) < math.log(1.1)
    assert len(rates) < 20


def test_rates_are_refined_with_the_seeds_that_have_results_and_the_best_one_stays() -> None:
    """Seed 2 was cancelled everywhere. New rates with three seeds would win by their number."""
    accuracies = {0.01: 0.8, 0.1: 0.95, 1.0: 0.7}
    tried = [member(HeNormal(), rate, seed, accuracy) for rate, accuracy in accuracies.items() for seed in (0, 1)]
    specs = [one.spec for one in tried]
    finer = refined(tried, specs)
    assert sorted((spec.optimizer.lr, spec.seed) for spec in finer) == [
        (0.0316, 0),
        (0.0316, 1),
        (0.316, 0),
        (0.316, 1),
    ]
    poor = [Compared(spec, 0.6, "mnist_test", 1000, 0.1, 5, None, 0.6) for spec in finer]
    kept = at_best_rates([*tried, *poor], [*specs, *finer]).members
    assert {one.spec.optimizer.lr for one in kept} == {0.1}
