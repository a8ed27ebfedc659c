"""The error of a model whose loss is no longer finite: it tells how large weights and gradients are, layer by layer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from models.errors import LossNotFinite
from models.training.step import Step


class Divergence(NamedTuple):
    """Where a loss stopped being finite: the network's index, the loss, the epoch, and the step in it, from 1."""

    slot: int
    loss: float
    epoch: int
    step: int


def loss_not_finite(step: Step, gradients: Tensor, where: Divergence) -> LossNotFinite:
    """Return the error of a divergence. `gradients` are those of its batch, as `Step.gradients_of` returns them."""
    named_gradients = step.parameters.named(gradients, where.slot)
    sizes = [_rms(layer.weight) for layer in step.network(where.slot).layers]
    weights = ", ".join(f"{size:.3g}" for size in sizes)
    of_gradients = ", ".join(f"{_rms(named_gradients[f'layers.{index}.weight']):.3g}" for index in range(len(sizes)))
    since = "" if gradients.device.type == "cpu" else " at the end of the epoch"
    return LossNotFinite(
        f"The loss became {where.loss} in epoch {where.epoch}, step {where.step}. Root mean squares by layer{since}, "
        f"first to last: weights {weights}; their gradients {of_gradients}.",
        "Use a smaller learning rate or a smaller initial scale.",
    )


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
