"""What the first layer of a network receives for an image: shares of ink, or shares that are standardized.

This file does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.vocabulary import MNIST_DEVIATION, MNIST_MEAN, InputScaling

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", "Tensor", NDArray[np.float32])
FIRST_WEIGHT, FIRST_BIAS = "layers.0.weight", "layers.0.bias"


def scaled(shares: Values, scaling: InputScaling) -> Values:
    """Return the inputs of a first layer, for shares of ink in [0, 1] of any shape: the shares x, or (x - m) / s.

    m = .1307 and s = .3081 are mean and standard deviation of all pixels of MNIST's training images.
    """
    if scaling == "zero_to_one":
        return shares
    return (shares - MNIST_MEAN) / MNIST_DEVIATION


def for_shares(weights: Mapping[str, NDArray[np.float32]], scaling: InputScaling) -> Mapping[str, NDArray[np.float32]]:
    """Return the weights with which the same network takes shares of ink in [0, 1]; see `scaled`.

    W (x - m) / s + b = (W / s) x + (b - m / s W 1), computed in float64. What does not change is shared.
    """
    if scaling == "zero_to_one":
        return weights
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged network stays one
        weight = weights[FIRST_WEIGHT].astype(np.float64) / MNIST_DEVIATION
        bias = weights[FIRST_BIAS] - MNIST_MEAN * weight.sum(axis=1)
        return {**weights, FIRST_WEIGHT: weight.astype(np.float32), FIRST_BIAS: bias.astype(np.float32)}
