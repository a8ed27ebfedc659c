"""Tests of many differences at once: with 21 equal schemes, 10 of 210 unadjusted tests would find a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DUNNETT_CORRELATION = 0.5
"""Of two differences from one baseline, if all groups have equal variances and sizes."""

NEGLIGIBLE = 36.0
"""What is less than e^-36 of the whole is not integrated."""


def student_p(t: float, degrees: int) -> float:
    """Return the two-sided p of Student's t."""
    if math.isinf(t):
        return 0.0
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))


def student_t(p_value: float, degrees: int) -> float:
    """Return the t that has this two-sided p."""
    from scipy.special import stdtrit

    return math.inf if p_value == 0 else -float(stdtrit(degrees, p_value / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down method: the chance of any false finding stays at the level.

    For the i-th smallest of m (from 0): max over j <= i of min(1, (m - j) p_j). Valid under any dependence.
    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def dunnett_p(t: float, comparisons: int, degrees: int) -> float:
    """Return the two-sided p of one of several differences from a baseline: P(max_i |T_i| >= |t|).

    T is multivariate t with equal correlations of 1/2. With z standard normal and s = sqrt(chi^2_v / v),

        P(max < c) = E_s E_z [Phi((c s + z sqrt(1/2)) / sqrt(1/2)) - Phi((-c s + z sqrt(1/2)) / sqrt(1/2))]^m

    The opposite is summed, over even steps of z and of log s, where all of it decays to both sides and such sums are
    exact to rounding (Trefethen, Weideman 2014, The exponentially convergent trapezoidal rule, SIAM Review 56). Few
    degrees of freedom put nearly all of a small p at small s. Source: Dunnett 1955, A multiple comparison procedure for
    comparing several treatments with a control, Journal of the American Statistical Association 50.
    """
    if math.isinf(t):
        return 0.0
    from scipy.special import ndtr

    z = np.arange(-9.0, 9.01, 0.25)
    weight_z = np.exp(-z * z / 2)
    s, weight_s = _chi_nodes(degrees, abs(t))
    root = math.sqrt(DUNNETT_CORRELATION)
    reach = abs(t) * s[:, None]
    outside = ndtr(-(reach + root * z) / root) + ndtr((root * z - reach) / root)
    # 1 - (1 - x)^m, exact for small x; an adjusted p is never below that of the test alone
    any_outside = -np.expm1(comparisons * np.log1p(-np.minimum(outside, 1 - 1e-16)))
    p_value = float(weight_s @ (any_outside @ (weight_z / weight_z.sum())))
    return min(1.0, max(p_value, student_p(t, degrees)))


def _chi_nodes(degrees: int, t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return even steps of log s, s = sqrt(chi^2_v / v), with their weights s f(s), where P(|T| > t) depends on them.

    f(s) is proportional to s^(v - 1) exp(-v s^2 / 2). Below s = 1 / t all of it lies outside, and decays with s^v.
    """
    low = -math.log1p(t) - NEGLIGIBLE / degrees
    high = math.log1p(10 * math.sqrt(2 / degrees) + 2 * NEGLIGIBLE / degrees) / 2
    logs = np.arange(low, high, min(0.1, 0.25 / math.sqrt(2 * degrees)))
    s = np.exp(logs)
    weights = np.exp(degrees * (logs - (s * s - 1) / 2))
    return s, weights / weights.sum()
