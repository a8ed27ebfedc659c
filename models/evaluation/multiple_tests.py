"""Tests of many differences at once: with 21 equal schemes, 10 of 210 unadjusted tests would find a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

DUNNETT_CORRELATION = 0.5
"""Of two differences from one baseline, if all groups have equal variances and sizes."""

NODES_Z, NODES_S = 64, 64


def student_p(t: float, degrees: int) -> float:
    """Return the two-sided p of Student's t."""
    if math.isinf(t):
        return 0.0
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))


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

    by Gauss's rules. Source: Dunnett 1955, A multiple comparison procedure for comparing several treatments with a
    control, Journal of the American Statistical Association 50.
    """
    if math.isinf(t):
        return 0.0
    from scipy.special import ndtr

    z, weight_z = np.polynomial.hermite_e.hermegauss(NODES_Z)
    s, weight_s = _chi_nodes(degrees)
    root = math.sqrt(DUNNETT_CORRELATION)
    reach = abs(t) * s[:, None]
    inside = (ndtr((reach + root * z) / root) - ndtr((root * z - reach) / root)) ** comparisons
    below = float(weight_s @ (inside @ (weight_z / weight_z.sum())))
    return min(1.0, max(0.0, 1.0 - below))


def _chi_nodes(degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of sqrt(chi^2_v / v), by Laguerre's rule: chi^2_v / 2 has the gamma law of v / 2."""
    from scipy.special import roots_genlaguerre

    nodes, weights = roots_genlaguerre(NODES_S, degrees / 2 - 1)
    return np.sqrt(2 * nodes / degrees), weights / weights.sum()
