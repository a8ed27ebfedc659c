"""Means of an activation and its slope over Gaussian pre-activations z ~ N(0, q)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from models.network.activations import ACTIVATIONS
from models.vocabulary import LEAKY_RELU_SLOPE, Activation

REACH_SD = 9.0
GRID_POINTS = 4000
"""Even, so that no point is at 0, where rectifiers have no slope."""

SLOPES_BELOW_ZERO: dict[Activation, float] = {"relu": 0.0, "leaky_relu": LEAKY_RELU_SLOPE, "identity": 1.0}
"""Activations that are x above 0 and s x below; their means have closed forms."""


@lru_cache(maxsize=4096)
def mean_of_square(activation: Activation, q: float) -> float:
    """Return E phi(sqrt(q) Z)^2, Z standard normal: by a closed form where there is one, else by the trapezoid rule."""
    if activation in SLOPES_BELOW_ZERO:
        return (1 + SLOPES_BELOW_ZERO[activation] ** 2) / 2 * q
    z, density = _grid()
    scaled = z * math.sqrt(q)
    out = torch.empty_like(scaled)
    ACTIVATIONS[activation].forward(scaled.clone(), out)
    return float(torch.trapezoid(out.square() * density, z))


@lru_cache(maxsize=4096)
def mean_of_squared_slope(activation: Activation, q: float) -> float:
    """Return E phi'(sqrt(q) Z)^2 for standard normal Z, as `mean_of_square`."""
    if activation in SLOPES_BELOW_ZERO:
        return (1 + SLOPES_BELOW_ZERO[activation] ** 2) / 2
    z, density = _grid()
    slope = slopes(activation, z * math.sqrt(q))
    return float(torch.trapezoid(slope.square() * density, z))


def slopes(activation: Activation, z: torch.Tensor) -> torch.Tensor:
    """Return phi'(z)."""
    kernels = ACTIVATIONS[activation]
    h, slope = torch.empty_like(z), torch.ones_like(z)
    kernels.forward(z.clone(), h)
    kernels.backward(torch.ones_like(z), z, h, slope)
    return slope


@lru_cache(maxsize=1)
def _grid() -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.linspace(-REACH_SD, REACH_SD, GRID_POINTS, dtype=torch.float64)
    return z, torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
