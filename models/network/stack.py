"""Networks of one architecture side by side, so that a device computes with all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from models.network.inputs import scaled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.network.mlp import Network
    from models.vocabulary import Activation, InputScaling


@dataclass(frozen=True)
class NetworkStack:
    """K networks on one device: of each layer `weights` [K, fan_out, fan_in] and `biases` [K, fan_out], float32."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: Activation
    inputs: InputScaling

    @classmethod
    def of(cls, networks: Sequence[Network], device: torch.device) -> Self:
        """Return at least one network, all of one architecture, on a device; a single one there shares its memory."""
        weights, biases = [], []
        for layers in zip(*(network.layers for network in networks), strict=True):
            weights.append(_stacked([layer.weight for layer in layers]).to(device))
            biases.append(_stacked([layer.bias for layer in layers]).to(device))
        return cls(tuple(weights), tuple(biases), networks[0].activation, networks[0].inputs)

    def __len__(self) -> int:
        return len(self.weights[0])

    @property
    def values_an_image(self) -> int:
        """Return how many pre-activations all networks together compute from one image."""
        return len(self) * sum(weight.shape[1] for weight in self.weights)

    def first_preactivations(self, shares: Tensor) -> Tensor:
        """Return z [K, n, fan_out] of the first layer for images, shares of ink [n, 784] in [0, 1]."""
        return self.preactivations(0, scaled(shares, self.inputs))

    def preactivations(self, number: int, h: Tensor) -> Tensor:
        """Return z [K, n, fan_out] of layer `number`, from 0, for its inputs [K, n, fan_in], or [n, fan_in] for all."""
        weight, bias = self.weights[number], self.biases[number]
        if len(self) == 1:  # the plain product, which is faster on a CPU
            return torch.addmm(bias[0], h.reshape(-1, weight.shape[2]), weight[0].t())[None]
        return torch.baddbmm(bias[:, None], h.expand(len(self), -1, -1), weight.transpose(1, 2))


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))
