"""Means of an activation and its slope over Gaussian pre-activations z ~ N(0, q)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from models.network.activations import ACTIVATIONS
from models.vocabulary import LEAKY_RELU_SLOPE, Activation

REACH_SD = 9.0
FINEST_SD = 0.01
GRID_POINTS = 4000
"""Even, so that no point is at 0, where rectifiers have no slope."""

SLOPES_BELOW_ZERO: dict[Activation, float] = {"relu": 0.0, "leaky_relu": LEAKY_RELU_SLOPE, "identity": 1.0}
"""Activations that are x above 0 and s x below; their means have closed forms."""


@lru_cache(maxsize=4096)
def mean_of_square(activation: Activation, q: float) -> float:
    """Return E phi(sqrt(q) Z)^2, Z standard normal: by a closed form where there is one, else by a sum."""
    if activation in SLOPES_BELOW_ZERO:
        return (1 + SLOPES_BELOW_ZERO[activation] ** 2) / 2 * q
    z, weights = normal_grid()
    scaled = z * math.sqrt(q)
    out = torch.empty_like(scaled)
    ACTIVATIONS[activation].forward(scaled.clone(), out)
    return float(out.square() @ weights)


@lru_cache(maxsize=4096)
def mean_of_squared_slope(activation: Activation, q: float) -> float:
    """Return E phi'(sqrt(q) Z)^2 for standard normal Z, as `mean_of_square`."""
    if activation in SLOPES_BELOW_ZERO:
        return (1 + SLOPES_BELOW_ZERO[activation] ** 2) / 2
    z, weights = normal_grid()
    slope = slopes(activation, z * math.sqrt(q))
    return float(slope.square() @ weights)


def slopes(activation: Activation, z: torch.Tensor) -> torch.Tensor:
    """Return phi'(z); NaN where z is."""
    kernels = ACTIVATIONS[activation]
    h, slope = torch.empty_like(z), torch.ones_like(z)
    kernels.forward(z.clone(), h)
    kernels.backward(torch.ones_like(z), z, h, slope)
    return slope.masked_fill_(z.isnan(), math.nan)


@lru_cache(maxsize=4)
def normal_grid(points: int = GRID_POINTS, reach_sd: float = REACH_SD) -> tuple[torch.Tensor, torch.Tensor]:
    """Return nodes z and weights, float64 [points], whose weighted sum of f(z) is E f(Z) for standard normal Z.

    z = .01 sinh t for even t: the nodes are a hundred times denser at 0, where a steep activation of a large q turns.
    """
    ends = math.asinh(reach_sd / FINEST_SD)
    t = torch.linspace(-ends, ends, points, dtype=torch.float64)
    z = FINEST_SD * torch.sinh(t)
    spacing = FINEST_SD * torch.cosh(t) * (t[1] - t[0])
    return z, spacing * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
