"""The error of a model whose loss is no longer finite: it tells how large its weights were, and its loss before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from models.errors import LossNotFinite

if TYPE_CHECKING:
    from models.training.stacked_parameters import StackedParameters


class Divergence(NamedTuple):
    """Where a loss stopped being finite: the loss, that of the step before, the epoch, and the step in it, from 1.

    `sizes` are those that `weight_sizes` returned for the network before the epoch: the step itself has made its
    weights infinite or undefined.
    """

    loss: float
    loss_before: float | None
    epoch: int
    step: int
    sizes: Sequence[float]


def weight_sizes(parameters: StackedParameters) -> Tensor:
    """Return the root mean square of each layer's weights, float64 [K, layers], on the device of the parameters."""
    weights = [layer.weight for layer in parameters.layers]
    return torch.stack(
        [
            torch.linalg.vector_norm(weight, dim=(1, 2), dtype=torch.float64) / weight[0].numel() ** 0.5
            for weight in weights
        ],
        dim=1,
    )


def loss_not_finite(where: Divergence) -> LossNotFinite:
    """Return the error of a divergence."""
    before = "" if where.loss_before is None else f", after {where.loss_before:.3g} in the step before"
    weights = ", ".join(f"{size:.3g}" for size in where.sizes)
    return LossNotFinite(
        f"The loss became {where.loss} in epoch {where.epoch}, step {where.step}{before}. Root mean squares of the "
        f"weights at the start of the epoch, by layer, first to last: {weights}.",
        "Use a smaller learning rate or a smaller initial scale.",
    )
