"""The Jacobian of all hidden layers together: which directions grow and which die on the way through a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diagnostics.gaussian_means import slopes
from models.diagnostics.report import JacobianSpectrum
from models.diagnostics.statistics import MAX_DECOMPOSED, singular_values_of

if TYPE_CHECKING:
    from models.network.mlp import Network


def jacobian_spectrum(network: Network, z: Sequence[Tensor]) -> JacobianSpectrum | None:
    """Return the spectrum of diag(phi'(z_L)) W_L ... diag(phi'(z_2)) W_2 at the first image, in float64.

    `z` are the pre-activations [n, units] of every layer. None if there is one hidden layer, if one is wider than
    `MAX_DECOMPOSED`, or if the product or its square is not finite.
    """
    hidden = network.layers[:-1]
    if len(hidden) < 2 or max(layer.weight.shape[0] for layer in hidden) > MAX_DECOMPOSED:
        return None
    product = torch.eye(hidden[0].weight.shape[0], dtype=torch.float64, device=z[0].device)
    for layer, of_layer in zip(hidden[1:], z[1:-1], strict=True):
        product = slopes(network.activation, of_layer[0].double())[:, None] * (layer.weight.double() @ product)
    if not bool(torch.isfinite(product).all()):
        return None
    scale = float(product.abs().max()) or 1.0  # without it the square of a large product would overflow
    values = singular_values_of(product / scale) * scale
    squares = float(values.square().sum())
    if not math.isfinite(squares):
        return None
    return JacobianSpectrum(
        least=float(values[0]),
        median=float(values.median()),
        largest=float(values[-1]),
        mean_square=squares / len(product[0]),
    )
