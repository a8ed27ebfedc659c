"""How alike two images become from layer to layer, in wide networks of independent, centred weights.

Poole et al. 2016, eq. 5; Schoenholz et al. 2017, eq. 4: if the pre-activations z of two images are Gaussian with mean
square q and correlation c, those of the next layer have, with n Var(W) = sigma_w^2 and Var(b) = sigma_b^2,

    C(c) = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q',  u, v ~ N(0, q) of correlation c,
    q' = sigma_w^2 E phi(u)^2 + sigma_b^2

1 - C is computed, not C, from d = 1 - c: images in a saturated network differ by 1e-24, which no float64 near 1 holds.
By Mehler's formula E phi(u) phi(v) = sum_k a_k^2 c^k, where a_k = E phi(sqrt(q) Z) h_k(Z) with the normalized Hermite
polynomials h_k; rectifiers have the closed form of Cho, Saul 2009, Kernel methods for deep learning (degree 1). The
first 200 terms are summed, and the others count as one: to 1 % for q up to 100, to some 10 % at 1,000.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from models.diagnostics.gaussian_means import SLOPES_BELOW_ZERO, mean_of_squared_slope, normal_grid
from models.network.activations import ACTIVATIONS
from models.vocabulary import Activation

TERMS = 200
REACH_SD = 12.0
POINTS = 4000
LEAST_REST = 1e-9
SERIES_BELOW = 1e-6
"""Below this difference the closed form of rectifiers loses digits, and its first terms are exact to 1e-9."""


def difference_of_products(activation: Activation, q: float, difference: float) -> float:
    """Return E phi(u)^2 - E phi(u) phi(v) for u, v ~ N(0, q) of correlation 1 - `difference`, which is in [0, 1]."""
    if activation in SLOPES_BELOW_ZERO:
        return q * _rectified_difference(SLOPES_BELOW_ZERO[activation], difference)
    squares, rest = squared_coefficients(activation, q)
    found = float(squares @ lost(difference, np.arange(TERMS + 1)))
    if rest <= LEAST_REST * float(squares.sum()):
        return found
    # The higher terms count as one, of the order that gives the slope at c = 1 its exact value, q E phi'^2.
    order = (q * mean_of_squared_slope(activation, q) - float(squares @ np.arange(TERMS + 1))) / rest
    return found + rest * float(lost(difference, np.array([max(order, TERMS + 1)]))[0])


def _rectified_difference(slope: float, difference: float) -> float:
    """Return (1 - s)^2 (1/2 - K(c)) + s (1 - c) for phi(x) = x above 0 and s x below, with q = 1 and K of Cho, Saul."""
    return (1 - slope) ** 2 * _arc_cosine_difference(difference) + slope * difference


def _arc_cosine_difference(difference: float) -> float:
    """Return 1/2 - E relu(u) relu(v), which is d/2 - sqrt(2) d^(3/2) / (3 pi) to first orders, for q = 1."""
    if difference < SERIES_BELOW:
        return difference / 2 - difference * math.sqrt(2 * difference) / (3 * math.pi)
    c = 1 - difference
    angle = 2 * math.asin(math.sqrt(difference / 2))  # the arc cosine of c
    return 0.5 - (math.sqrt(difference * (1 + c)) + c * (math.pi - angle)) / (2 * math.pi)


def lost(difference: float, orders: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 - c^k for each order k, with c = 1 - `difference`, exact for differences as small as 1e-300."""
    if difference >= 1:
        return np.where(orders > 0, 1.0, 0.0)
    return -np.expm1(orders * math.log1p(-difference))


@lru_cache(maxsize=1024)
def squared_coefficients(activation: Activation, q: float) -> tuple[NDArray[np.float64], float]:
    """Return a_k^2 for k = 0 to `TERMS`, and the rest E phi^2 - sum a_k^2, all of the higher terms together."""
    squares, rest = squared_coefficients_of(activation, np.array([q]))
    return squares[0], float(rest[0])


def squared_coefficients_of(
    activation: Activation, q: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squared Hermite coefficients [P, TERMS + 1] of phi(sqrt(q) z), and the rests [P], for q [P]."""
    nodes, weights = (side.numpy() for side in normal_grid(POINTS, REACH_SD))
    values = activated(activation, np.sqrt(q)[:, None] * nodes)
    coefficients = (values * np.sqrt(weights)) @ hermite_functions().T
    whole = values**2 @ weights
    return coefficients**2, np.maximum(whole - (coefficients**2).sum(1), 0.0)


def activated(activation: Activation, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return phi(z), elementwise in float64."""
    wide = torch.from_numpy(np.ascontiguousarray(z))
    out = torch.empty_like(wide)
    ACTIVATIONS[activation].forward(wide.clone(), out)
    return out.numpy()


@lru_cache(maxsize=1)
def hermite_functions() -> NDArray[np.float64]:
    """Return h_k(z) sqrt(weight) [TERMS + 1, POINTS] at the nodes of the grid, which no term overflows.

    sqrt(k + 1) h_(k+1) = z h_k - sqrt(k) h_(k-1).
    """
    nodes, weights = (side.numpy() for side in normal_grid(POINTS, REACH_SD))
    functions = [np.sqrt(weights), nodes * np.sqrt(weights)]
    for k in range(1, TERMS):
        functions.append((nodes * functions[k] - math.sqrt(k) * functions[k - 1]) / math.sqrt(k + 1))
    return np.stack(functions)
