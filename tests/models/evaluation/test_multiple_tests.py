"""Adjusted p-values against scipy and against definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models.evaluation.multiple_tests import dunnett_p, holm, student_p


def test_holms_values_are_those_of_the_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R: p.adjust(..., "holm")
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("t", "degrees"), [(0.0, 2), (2.5, 2), (-4.1, 9), (30.0, 4)])
def test_students_p_is_scipys(t: float, degrees: int) -> None:
    assert student_p(t, degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-9)
    assert student_p(math.inf, degrees) == 0.0


@pytest.mark.parametrize("comparisons", [1, 4, 20])
@pytest.mark.parametrize("degrees", [2, 9])
@pytest.mark.parametrize("t", [0.5, 2.0, 3.5])
def test_dunnetts_p_is_the_multivariate_t(comparisons: int, degrees: int, t: float) -> None:
    correlations = np.full((comparisons, comparisons), 0.5) + 0.5 * np.eye(comparisons)
    drawn = stats.multivariate_t(shape=correlations, df=degrees, seed=1).rvs(40_000).reshape(40_000, comparisons)
    expected = float((np.abs(drawn).max(axis=1) >= t).mean())
    assert dunnett_p(t, comparisons, degrees) == pytest.approx(expected, abs=0.012)
    assert dunnett_p(t, 1, degrees) == pytest.approx(student_p(t, degrees), abs=1e-3)
