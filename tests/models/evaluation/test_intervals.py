"""Means with Student's interval, a floor, and ends that are possible."""

from __future__ import annotations

import math

import pytest

from models.evaluation.intervals import binomial_se, mean_interval


def test_the_interval_of_a_mean_is_students() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.sd == 1
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom, 97.5 %: any printed table
    assert found.low == pytest.approx(2 - half, rel=1e-6)
    assert found.high == pytest.approx(2 + half, rel=1e-6)


def test_one_number_has_no_interval() -> None:
    assert mean_interval([0.5]).model_dump() == {"mean": 0.5, "sd": None, "low": None, "high": None}


def test_an_interval_is_at_least_as_wide_as_its_floor_and_within_what_is_possible() -> None:
    found = mean_interval([0.99, 0.99, 0.99], least_se=0.01, within=(0.0, 1.0))
    assert found.low == pytest.approx(0.99 - 4.302653 * 0.01, rel=1e-6)
    assert found.high == 1.0


def test_the_standard_error_of_a_share_is_binomial() -> None:
    assert binomial_se(0.98, 10_000) == pytest.approx(0.0014)
    assert binomial_se(1.0, 10_000) == 0.0
