"""Means with intervals from seeds and images, with ends that are possible."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models.evaluation.intervals import binomial_se, half_width, mean_interval, mean_p


def test_the_interval_of_a_mean_is_students() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.sd == 1
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom, 97.5 %: any printed table
    assert found.low == pytest.approx(2 - half, rel=1e-6)
    assert found.high == pytest.approx(2 + half, rel=1e-6)


def test_one_number_has_no_interval() -> None:
    assert mean_interval([0.5]).model_dump() == {"mean": 0.5, "sd": None, "low": None, "high": None}


def test_seeds_that_agree_leave_the_interval_that_the_images_give_within_what_is_possible() -> None:
    for seeds in (2, 3, 10):
        found = mean_interval([0.99] * seeds, 0.01, within=(0.0, 1.0))
        assert found.low == pytest.approx(0.99 - 1.959964 * 0.01, rel=1e-4)
        assert found.high == 1.0


def test_what_seeds_and_images_can_explain_adds_up() -> None:
    found = mean_interval([1.0, 2.0, 3.0], 0.5)
    assert found.high == pytest.approx(2 + math.hypot(4.302653 / math.sqrt(3), 1.959964 * 0.5), rel=1e-6)


@pytest.mark.parametrize(("values", "of_images"), [([1.0, 2.0, 4.0], 0.0), ([1.0, 2.0, 4.0], 0.8), ([0.5] * 4, 0.2)])
def test_a_p_is_that_of_the_interval_that_ends_at_0(values: list[float], of_images: float) -> None:
    found = mean_p(values, of_images)
    assert half_width(values, of_images, found) == pytest.approx(sum(values) / len(values), rel=1e-9)
    assert mean_p([-value for value in values], of_images) == found
    if of_images == 0:
        assert found == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
    if len(set(values)) == 1:
        assert found == pytest.approx(2 * stats.norm.sf(0.5 / of_images), rel=1e-9)


def test_what_cannot_be_by_chance_has_p_0_and_no_difference_has_1() -> None:
    assert mean_p([0.5, 0.5, 0.5], 0.0) == 0.0
    assert mean_p([1.0, -1.0], 0.1) == 1.0


@pytest.mark.parametrize(("of_seeds", "of_images"), [(1.0, 0.0), (1.0, 1.0), (0.3, 1.0), (0.0, 1.0), (1.0, 0.2)])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_intervals_hold_the_mean_as_often_as_they_say(of_seeds: float, of_images: float, seeds: int) -> None:
    """Every trial draws seeds and one test set; of 4,000, 95 % have a standard error of .34 points."""
    stream = np.random.default_rng(5)
    drawn = of_seeds * stream.normal(size=(4000, seeds)) + of_images * stream.normal(size=(4000, 1))
    intervals = [mean_interval(list(values), of_images) for values in drawn.tolist()]
    held = np.mean([one.low <= 0 <= one.high for one in intervals if one.low is not None and one.high is not None])
    assert held > 0.94


def test_the_standard_error_of_a_share_is_binomial() -> None:
    assert binomial_se(0.98, 10_000) == pytest.approx(0.0014)
    assert binomial_se(1.0, 10_000) == 0.0
