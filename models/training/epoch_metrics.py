"""Metrics of an epoch that are computed from its losses, or from the networks after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from models.evaluation.evaluate import count_all

if TYPE_CHECKING:
    import torch

    from models.data.mnist import DataSet, Digits
    from models.network.mlp import Network
    from models.spec import TrainSpec

FIRST_BELOW_LOSS = 2.0
SMOOTHED_STEPS = 10
POINTS_OF_JOB = 200


def first_step_below(losses: Sequence[float], steps_before: int) -> int | None:
    """Return the first step, counted over all epochs, at which the mean of the last few losses is below 2.0."""
    for end in range(SMOOTHED_STEPS, len(losses) + 1):
        if fmean(losses[end - SMOOTHED_STEPS : end]) < FIRST_BELOW_LOSS:
            return steps_before + end
    return None


def loss_curve(losses: Sequence[float], epochs: int) -> list[float]:
    """Return the means of equal parts of an epoch's losses, four digits each: at most `POINTS_OF_JOB` of all epochs.

    Empty where an epoch would have one part: that is its mean loss.
    """
    parts = min(len(losses), POINTS_OF_JOB // epochs)
    if parts < 2:
        return []
    edges = [len(losses) * part // parts for part in range(parts + 1)]
    return [float(f"{fmean(losses[first:end]):.4g}") for first, end in pairwise(edges)]


def wants_curves(spec: TrainSpec) -> bool:
    """Return whether a spec asks for results on images that it does not train on, after every epoch."""
    return spec.test_curve or spec.validation_images > 0


def curves_of(
    networks: Sequence[Network], spec: TrainSpec, data: DataSet, validation: Digits, device: torch.device
) -> list[dict[str, float | None]]:
    """Return what a spec asks for of networks after an epoch, by the names of `EpochMetrics`.

    Losses that are not finite are None. `validation` are the digits that the spec holds out, perhaps none.
    """
    curves: list[dict[str, float | None]] = [{} for _ in networks]
    if spec.validation_images:
        for curve, found in zip(curves, count_all(networks, validation, device), strict=True):
            curve["validation_loss"] = found.mean_loss if math.isfinite(found.mean_loss) else None
            curve["validation_accuracy"] = found.accuracy
    if spec.test_curve and data.evaluated_on == "mnist_test":
        for curve, found in zip(curves, count_all(networks, data.test, device), strict=True):
            curve["test_accuracy"] = found.accuracy
    return curves
