"""Adjusted p-values against scipy and against definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

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
    assert dunnett_p(t, 1, degrees) == pytest.approx(student_p(t, degrees), rel=1e-9)


def integrated(t: float, comparisons: int, degrees: int) -> float:
    """Return Dunnett's p by adaptive integration of its definition."""

    def beyond(s: float) -> float:
        def density(z: float) -> float:
            inside = stats.norm.cdf(math.sqrt(2) * t * s + z) - stats.norm.cdf(z - math.sqrt(2) * t * s)
            return float((1 - inside**comparisons) * stats.norm.pdf(z))

        return float(integrate.quad(density, -9, 9, limit=200)[0])

    law = stats.chi(df=degrees, scale=degrees**-0.5)
    ends = [0.0, *sorted({1 / t, 3 / t, 8 / t, 1.0, 2.0}), 9.0]
    parts = [integrate.quad(lambda s: beyond(s) * law.pdf(s), *pair, limit=200)[0] for pair in pairwise(ends)]
    return float(sum(parts))


@pytest.mark.parametrize(
    ("t", "comparisons", "degrees"), [(8.0, 20, 2), (20.0, 5, 2), (40.0, 2, 2), (20.0, 5, 4), (1.0, 3, 30)]
)
def test_dunnetts_p_of_large_differences_is_that_of_the_definition(t: float, comparisons: int, degrees: int) -> None:
    assert dunnett_p(t, comparisons, degrees) == pytest.approx(integrated(t, comparisons, degrees), rel=1e-4)


@pytest.mark.parametrize("degrees", [2, 3, 5, 29, 999])
@pytest.mark.parametrize("t", [0.01, 1.0, 4.3, 20.0, 1e3, 1e6])
def test_an_adjusted_p_is_between_that_alone_and_bonferronis(t: float, degrees: int) -> None:
    alone = student_p(t, degrees)
    for comparisons in (1, 2, 20):
        assert alone <= dunnett_p(t, comparisons, degrees) <= min(1.0, comparisons * alone) * (1 + 1e-9)
