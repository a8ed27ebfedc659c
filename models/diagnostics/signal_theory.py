"""Predict signals and gradients in a network of independent, centred weights, before training.

Recursion of second moments (He et al. 2015, eq. 6 to 14; Poole et al. 2016): with pre-activations z ~ N(0, q),

    q_1 = Var(W_1) |x|^2 + Var(b),  q_(l+1) = n Var(W_(l+1)) E phi(sqrt(q_l) Z)^2 + Var(b)
    E d_l^2 = E d_(l+1)^2 m Var(W_(l+1)) E phi'(sqrt(q_l) Z)^2

where n and m are the fans of W_(l+1). It holds in the mean over weights. The deviation of a single network grows with
depth over width (Hanin, Rolnick 2018), so the deep layers of one draw need not match closely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from models.init import SMALL_OUTPUT_STD
from models.network.activations import ACTIVATIONS
from models.vocabulary import LEAKY_RELU_SLOPE, Activation

if TYPE_CHECKING:
    from models.init import OutputInit
    from models.init.base import Scheme
    from models.network.architecture import Architecture

REACH_SD = 9.0
GRID_POINTS = 4000
"""Even, so that no point is at 0, where rectifiers have no slope."""

HALVED: dict[Activation, float] = {
    "relu": 1 / 2,
    "leaky_relu": (1 + LEAKY_RELU_SLOPE**2) / 2,
    "identity": 1.0,
}
"""E phi'(z)^2 of activations that are linear on both sides of 0, for every q; E phi(z)^2 is q times that."""


@dataclass(frozen=True)
class Prediction:
    """For one layer: the variance of its weights, the rms of z, and the rms of dL/dz relative to the output layer's."""

    weight_variance: float
    z_rms: float
    dz_share: float


def predict(
    scheme: Scheme, architecture: Architecture, mean_square_of_inputs: float, output_init: OutputInit = "same"
) -> list[Prediction] | None:
    """Return the prediction for every layer, or None if the theory does not apply to the scheme.

    `mean_square_of_inputs` is the mean over the images of |x|^2, which is a sum over pixels.
    """
    variances = _variances(scheme, architecture)
    if variances is None:
        return None
    variances[-1] = {"same": variances[-1], "small": SMALL_OUTPUT_STD**2, "zeros": 0.0}[output_init]
    sizes, activation = architecture.sizes, architecture.activation
    moments, q, squares = [], 0.0, mean_square_of_inputs
    for index, variance in enumerate(variances):
        bias = 1 / (3 * sizes[index]) if scheme.bias == "torch_default" else 0.0
        q = variance * squares + bias
        moments.append(q)
        squares = sizes[index + 1] * mean_of_square(activation, q)
    shares = [1.0]
    for index in range(len(variances) - 1, 0, -1):
        slope = mean_of_squared_slope(activation, moments[index - 1])
        shares.append(shares[-1] * math.sqrt(sizes[index + 1] * variances[index] * slope))
    return [
        Prediction(variance, math.sqrt(q), share)
        for variance, q, share in zip(variances, moments, reversed(shares), strict=True)
    ]


def _variances(scheme: Scheme, architecture: Architecture) -> list[float] | None:
    """Return Var W of every layer.

    None if a variance is unknown, if weights are not centred or not independent enough, or if biases are not centred.
    """
    if not scheme.keeps_signal_theory or (scheme.bias == "constant" and scheme.bias_value != 0):
        return None
    sizes, variances = architecture.sizes, []
    for index in range(len(sizes) - 1):
        activation = architecture.activation if index < len(sizes) - 2 else "identity"
        fans = (sizes[index], sizes[index + 1])
        law, variance = scheme.law(*fans, activation), scheme.weight_variance(*fans, activation)
        if variance is None or (law is not None and law.mean != 0):
            return None
        variances.append(variance)
    return variances


@lru_cache(maxsize=4096)
def mean_of_square(activation: Activation, q: float) -> float:
    """Return E phi(sqrt(q) Z)^2, Z standard normal: by a closed form where there is one, else by the trapezoid rule."""
    if activation in HALVED:
        return HALVED[activation] * q
    z, density = _grid()
    scaled = z * math.sqrt(q)
    out = torch.empty_like(scaled)
    ACTIVATIONS[activation].forward(scaled.clone(), out)
    return float(torch.trapezoid(out.square() * density, z))


@lru_cache(maxsize=4096)
def mean_of_squared_slope(activation: Activation, q: float) -> float:
    """Return E phi'(sqrt(q) Z)^2 for standard normal Z, as `mean_of_square`."""
    if activation in HALVED:
        return HALVED[activation]
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
