"""The network: a multilayer perceptron as plain tensors, without implicit initialization."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from models.network.architecture import Architecture
    from models.vocabulary import Activation, InputScaling


@dataclass(frozen=True)
class Layer:
    """One affine map: z = weight h + bias; weight [fan_out, fan_in], bias [fan_out], float32 on the CPU."""

    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron 784 -> hidden -> 10; `activation` follows every layer but the last.

    `inputs` says what the first layer receives for an image; see `models.network.inputs.scaled`.
    """

    layers: tuple[Layer, ...]
    activation: Activation
    inputs: InputScaling

    @classmethod
    def empty(cls, architecture: Architecture) -> Self:
        """Return a network full of NaN, so that a weight that no scheme filled is noticed."""
        sizes = architecture.sizes
        layers = tuple(
            Layer(torch.full((fan_out, fan_in), torch.nan), torch.full((fan_out,), torch.nan))
            for fan_in, fan_out in pairwise(sizes)
        )
        return cls(layers, architecture.activation, architecture.inputs)

    @classmethod
    def of_weights(cls, weights: Mapping[str, NDArray[np.float32]], architecture: Architecture) -> Self:
        """Return a network with a copy of `weights`, which are named as by `to_weights`."""
        layers = tuple(
            Layer(
                torch.from_numpy(weights[f"layers.{index}.weight"].copy()),
                torch.from_numpy(weights[f"layers.{index}.bias"].copy()),
            )
            for index in range(len(architecture.sizes) - 1)
        )
        return cls(layers, architecture.activation, architecture.inputs)

    def to(self, device: torch.device) -> Network:
        """Return the network on a device; tensors that are there already are shared."""
        layers = tuple(Layer(layer.weight.to(device), layer.bias.to(device)) for layer in self.layers)
        return Network(layers, self.activation, self.inputs)

    def to_weights(self) -> dict[str, NDArray[np.float32]]:
        """Return `layers.{i}.weight` [fan_out, fan_in] and `layers.{i}.bias` [fan_out], sharing memory."""
        named = {}
        for index, layer in enumerate(self.layers):
            named[f"layers.{index}.weight"] = layer.weight.numpy()
            named[f"layers.{index}.bias"] = layer.bias.numpy()
        return named
