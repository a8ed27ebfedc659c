"""The parameters of K networks side by side, and everything that has one number a parameter, in flat buffers.

A training step wants weights as V = [K, fan_in, fan_out], the transpose of `models.network.mlp.Layer.weight`, so that
the forward product needs no transpose, and all of them in one buffer, so that an optimizer is one kernel call.
Checkpoints want networks. This file is where the one becomes the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.errors import CheckpointDamaged
from models.native.row_layout import LINE, rounded_up
from models.network.mlp import Layer, Network
from models.training import huge_pages as large_pages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.network.architecture import Architecture


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer lies in a flat buffer, in elements: from `weight_at` `fan_in` rows `stride` apart; the bias."""

    fan_in: int
    fan_out: int
    stride: int
    weight_at: int
    bias_at: int


@dataclass(frozen=True)
class LayerViews:
    """Views of one layer in a flat buffer: weight [K, fan_in, fan_out] and bias [K, 1, fan_out]."""

    weight: Tensor
    bias: Tensor


class StackedParameters:
    """The parameters of `count` networks: `values` [K, length], of which `layers` are views.

    `pixels`, int64 [n], are the inputs that take part, the others being zero in every image: the first layer then has n
    rows here, and the weights of the others stay what they are. `stride_of` gives the distance of rows of a width, in
    elements, if it is more than the width; padding is zero and stays so.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        architecture: Architecture,
        pixels: Tensor,
        device: torch.device,
        dtype: torch.dtype,
        stride_of: Callable[[int], int] = int,
    ) -> None:
        self.architecture = architecture
        self.count = len(networks)
        self._pixels = pixels.cpu()
        sizes = (len(pixels), *architecture.sizes[1:])
        self.places, self._length = _lay_out(sizes, stride_of)
        self.values = large_pages.zeros((self.count, self._length), dtype, device)
        self.layers = self.views(self.values)
        self._first_rows = [self._in_rows(network.layers[0].weight) for network in networks]
        for index, network in enumerate(networks):
            for number, layer in enumerate(network.layers):
                self._fill(self.layers[number], index, self._rows_of(number, layer.weight), layer.bias)

    def zeros(self) -> Tensor:
        """Return a new buffer with one number a parameter, [K, length]."""
        return large_pages.zeros(tuple(self.values.shape), self.values.dtype, self.values.device)

    def views(self, flat: Tensor) -> list[LayerViews]:
        """Return the parts of a flat buffer [K, length] that belong to each layer."""
        found = []
        for place in self.places:
            rows = flat[:, place.weight_at : place.weight_at + place.fan_in * place.stride]
            weight = rows.view(len(flat), place.fan_in, place.stride)[:, :, : place.fan_out]
            found.append(LayerViews(weight, flat[:, None, place.bias_at : place.bias_at + place.fan_out]))
        return found

    def network(self, index: int) -> Network:
        """Return a copy of one network, float32 on the CPU."""
        layers = tuple(
            Layer(
                self._weight(views, number, index, self._first_rows[index], torch.float32),
                views.bias[index, 0].to("cpu", torch.float32, copy=True),
            )
            for number, views in enumerate(self.layers)
        )
        return Network(layers, self.architecture.activation)

    def named(self, flat: Tensor, index: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Return one network's part of a flat buffer by the names and in the shapes of its weights, a copy on the CPU.

        What belongs to pixels that take no part is zero.
        """
        nothing = torch.zeros_like(self._first_rows[index], dtype=dtype)
        found = {}
        for number, views in enumerate(self.views(flat)):
            found[f"layers.{number}.weight"] = self._weight(views, number, index, nothing, dtype)
            found[f"layers.{number}.bias"] = views.bias[index, 0].to("cpu", dtype, copy=True)
        return found

    def load_named(self, flat: Tensor, index: int, named: Mapping[str, NDArray[np.float32]]) -> None:
        """Put back what `named` returned. Raises `CheckpointDamaged` if it is of another network."""
        if {name: values.shape for name, values in named.items()} != self.architecture.weight_shapes:
            raise CheckpointDamaged(
                "What the optimizer remembers is of another network, or was written by another version.",
                "Train the job anew.",
            )
        for number, views in enumerate(self.views(flat)):
            weight, bias = (torch.tensor(named[f"layers.{number}.{part}"]) for part in ("weight", "bias"))
            self._fill(views, index, self._rows_of(number, weight), bias)

    def _weight(self, views: LayerViews, number: int, index: int, whole: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a copy of a weight [fan_out, fan_in] on the CPU.

        The first layer's rows are put into `whole`, as `_in_rows`: pixels that take no part have what it holds.
        """
        rows = views.weight[index].to("cpu", dtype)
        if number == 0:
            rows = whole[:, : rows.shape[1]].index_copy_(0, self._pixels, rows)
        return rows.t().clone(memory_format=torch.contiguous_format)

    def _in_rows(self, weight: Tensor) -> Tensor:
        """Return the first weight as [fan_in, stride] on the CPU, as it lies here: quicker to fill and to transpose."""
        rows = torch.zeros((weight.shape[1], self.places[0].stride))
        rows[:, : len(weight)] = weight.t()
        return rows

    def _rows_of(self, number: int, weight: Tensor) -> Tensor:
        return (weight[:, self._pixels] if number == 0 else weight).t()

    @staticmethod
    def _fill(views: LayerViews, index: int, rows: Tensor, bias: Tensor) -> None:
        views.weight[index].copy_(rows)
        views.bias[index, 0].copy_(bias)


def _lay_out(sizes: Sequence[int], stride_of: Callable[[int], int]) -> tuple[list[LayerPlace], int]:
    """Return where the layers lie, and the length of the flat buffer."""
    places, end = [], 0
    for fan_in, fan_out in pairwise(sizes):
        stride = stride_of(fan_out)
        bias_at = end + rounded_up(fan_in * stride, LINE)
        places.append(LayerPlace(fan_in, fan_out, stride, end, bias_at))
        end = bias_at + rounded_up(stride, LINE)
    return places, end
