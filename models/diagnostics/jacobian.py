"""The Jacobian of all hidden layers together: which directions grow and which die on the way through a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diagnostics.gaussian_means import slopes
from models.diagnostics.report import JacobianSpectrum
from models.diagnostics.statistics import MAX_DECOMPOSED

if TYPE_CHECKING:
    from models.network.mlp import Network


def jacobian_spectrum(network: Network, z: Sequence[Tensor]) -> JacobianSpectrum | None:
    """Return the spectrum of diag(phi'(z_L)) W_L ... diag(phi'(z_2)) W_2 at the first image, in float64.

    `z` are the pre-activations [n, units] of every layer. None if there is one hidden layer, if one is wider than
    `MAX_DECOMPOSED`, or if the product is not finite.
    """
    hidden = network.layers[:-1]
    if len(hidden) < 2 or max(layer.weight.shape[0] for layer in hidden) > MAX_DECOMPOSED:
        return None
    product = torch.eye(hidden[0].weight.shape[0], dtype=torch.float64, device=z[0].device)
    for layer, of_layer in zip(hidden[1:], z[1:-1], strict=True):
        product = slopes(network.activation, of_layer[0].double())[:, None] * (layer.weight.double() @ product)
    if not bool(torch.isfinite(product).all()):
        return None
    values = torch.linalg.svdvals(product)
    return JacobianSpectrum(
        least=float(values[-1]),
        median=float(values.median()),
        largest=float(values[0]),
        mean_square=float(values.square().sum()) / len(product[0]),
    )
