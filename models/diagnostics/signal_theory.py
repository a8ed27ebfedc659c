"""Predict signals and gradients in a network of independent, centred weights, before training.

Recursion of second moments (He et al. 2015, eq. 6 to 14; Poole et al. 2016): with pre-activations z ~ N(0, q),

    q_1 = Var(W_1) |x|^2 + Var(b),  q_(l+1) = n Var(W_(l+1)) E phi(sqrt(q_l) Z)^2 + Var(b)
    E d_l^2 = E d_(l+1)^2 m Var(W_(l+1)) E phi'(sqrt(q_l) Z)^2

where n and m are the fans of W_(l+1). How alike two images become is in `correlation_map`. All this holds in the mean
over weights. The deviation of a single network grows with depth over width (Hanin, Rolnick 2018), so the deep layers
of one draw need not match closely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from models.diagnostics.correlation_map import difference_of_products
from models.diagnostics.gaussian_means import mean_of_square, mean_of_squared_slope
from models.init import SMALL_OUTPUT_STD

if TYPE_CHECKING:
    from models.init import OutputInit
    from models.init.base import Scheme
    from models.network.architecture import Architecture


class Inputs(NamedTuple):
    """What the theory needs to know of the images.

    `mean_square` is the mean over the images of |x|^2, which is a sum over pixels; `difference` is 1 - the mean cosine
    between two different images.
    """

    mean_square: float
    difference: float


@dataclass(frozen=True)
class Prediction:
    """For one layer: the variance of its weights, the rms of z, and the rms of dL/dz relative to the output layer's.

    `difference` is 1 - the correlation of two images' z; None where all z are 0.
    """

    weight_variance: float
    z_rms: float
    dz_share: float
    difference: float | None


def predict(
    scheme: Scheme, architecture: Architecture, inputs: Inputs, output_init: OutputInit = "same"
) -> list[Prediction] | None:
    """Return the prediction for every layer, or None if the theory does not apply to the scheme."""
    variances = _variances(scheme, architecture)
    if variances is None:
        return None
    variances[-1] = {"same": variances[-1], "small": SMALL_OUTPUT_STD**2, "zeros": 0.0}[output_init]
    sizes, activation = architecture.sizes, architecture.activation
    moments: list[float] = []
    differences: list[float | None] = []
    squares, apart = inputs.mean_square, inputs.mean_square * inputs.difference
    for index, variance in enumerate(variances):
        q = variance * squares + scheme.bias_variance(sizes[index])
        moments.append(q)
        differences.append(variance * apart / q if q > 0 else None)
        squares = sizes[index + 1] * mean_of_square(activation, q)
        apart = sizes[index + 1] * difference_of_products(activation, q, differences[-1] or 0.0)
    shares = [1.0]
    for index in range(len(variances) - 1, 0, -1):
        slope = mean_of_squared_slope(activation, moments[index - 1])
        shares.append(shares[-1] * math.sqrt(sizes[index + 1] * variances[index] * slope))
    return [
        Prediction(variance, math.sqrt(q), share, difference)
        for variance, q, share, difference in zip(variances, moments, reversed(shares), differences, strict=True)
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
