"""The Jacobian of all hidden layers together: which directions grow and which die on the way through a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diagnostics.gaussian_means import slopes
from models.diagnostics.statistics import MAX_DECOMPOSED, singular_values_of

if TYPE_CHECKING:
    from models.network.stack import NetworkStack


def jacobian_spectrum(stack: NetworkStack, z: Sequence[Tensor]) -> dict[str, Tensor] | None:
    """Return the spectra of diag(phi'(z_L)) W_L ... diag(phi'(z_2)) W_2 at the first image, in float64.

    `z` are the pre-activations [K, n, units] of every layer. By the names of `JacobianSpectrum`, [K] each; not finite
    for a network whose product, or its square, is not. None if there is one hidden layer, or one is wider than
    `MAX_DECOMPOSED`.
    """
    weights = stack.weights[:-1]
    if len(weights) < 2 or max(weight.shape[1] for weight in weights) > MAX_DECOMPOSED:
        return None
    start = torch.eye(weights[0].shape[1], dtype=torch.float64, device=z[0].device)
    product = start.expand(len(stack), -1, -1)
    for weight, of_layer in zip(weights[1:], z[1:-1], strict=True):
        product = slopes(stack.activation, of_layer[:, 0].double())[:, :, None] * (weight.double() @ product)
    scale = product.abs().amax((1, 2))  # without it the square of a large product would overflow
    scale = scale.masked_fill(scale == 0, 1.0)[:, None]
    values = singular_values_of(product / scale[:, :, None]) * scale
    return {
        "least": values[:, 0],
        "median": values.median(1).values,
        "largest": values[:, -1],
        "mean_square": values.square().sum(1) / product.shape[2],
    }
