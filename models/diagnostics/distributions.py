"""How the numbers in each layer of a network are distributed. Values only; this file does not import torch.

`models.diagnostics.histograms` takes them from a network.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.vocabulary import DataName, Part

BINS = 64
OUTER = 0.001
"""Share of the numbers below the first bin's left end, and above the last bin's right end, that is aimed at."""


class Histogram(Part):
    """Counts of numbers in 64 bins of equal width from `low` to `high`.

    Numbers that are exactly 0 are counted in `zeros` alone, because ReLU makes half of all activations 0. Numbers below
    `low` or above `high` are counted in the first or the last bin: the range leaves out a thousandth at each end. If
    all numbers are 0, `low` and `high` are 0.
    """

    low: float
    high: float
    counts: list[int] = Field(min_length=BINS, max_length=BINS)
    zeros: int
    not_finite: int = Field(description="Numbers that are infinite or undefined; they are in no bin.")
    mean: float | None = Field(description="Mean of the finite numbers, zeros included; null without any.")


class LayerDistributions(Part):
    """The distributions in one layer z = W h + b, a = phi(z)."""

    layer: int = Field(description="Number of the layer, from 1; the last one is the output layer, where a = z.")
    weights: Histogram
    weight_gradients: Histogram = Field(description="Of the mean loss of the images, in nats.")
    activations: Histogram = Field(description="Of all units on all images.")
    unit_cosines: Histogram | None = Field(
        description="Cosines between the incoming weights of two units, from -1 to 1, of at most 256 units, evenly "
        "chosen. 1: the units are one and the same. Null if at most one unit has weights that are not all 0."
    )


class Distributions(Part):
    """The distributions in all layers of a checkpoint, on the first 512 training images."""

    object: Literal["distributions"] = "distributions"
    model: str = Field(description="The checkpoint, as JOB@EPOCH.")
    epoch: int
    images: int
    layers: list[LayerDistributions]


class WeightsFile(Part):
    """Where a checkpoint's weights are: a file, its SHA-256, and its name in the answer."""

    path: str
    sha256: str
    model: str
    data: DataName
