"""The parameters of K stacked networks, and other values that each parameter has, in flat buffers.

A training step needs weights as V = [K, fan_in, fan_out], the transpose of `models.network.mlp.Layer.weight`, so that
the forward product needs no transpose. All of them are in one buffer, so that an optimizer is one kernel call.
Checkpoints need networks. This file converts between the two.
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
from models.training import huge_pages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.network.architecture import Architecture


@dataclass(frozen=True)
class LayerPlace:
    """A layer in a flat buffer, in elements: `fan_in` rows `stride` apart from `weight_at`, the bias at `bias_at`."""

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

    `pixels`, int64 [n], are the inputs that are used; the others are zero in every image. The first layer has n rows
    here, and the weights of the other inputs never change. `stride_of` gives the distance between rows of a width, in
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
        self.values = huge_pages.zeros((self.count, self._length), dtype, device)
        self.layers = self.views(self.values)
        self._first_rows = [self._in_rows(network.layers[0].weight) for network in networks]
        for index, network in enumerate(networks):
            for number, layer in enumerate(network.layers):
                self._fill(self.layers[number], index, self._rows_of(number, layer.weight), layer.bias)

    def zeros(self) -> Tensor:
        """Return a new buffer of zeros, one per parameter, [K, length]."""
        return huge_pages.zeros(tuple(self.values.shape), self.values.dtype, self.values.device)

    def views(self, flat: Tensor) -> list[LayerViews]:
        """Return the parts of a flat buffer [K, length] that belong to each layer."""
        layers = []
        for place in self.places:
            rows = flat[:, place.weight_at : place.weight_at + place.fan_in * place.stride]
            weight = rows.view(len(flat), place.fan_in, place.stride)[:, :, : place.fan_out]
            layers.append(LayerViews(weight, flat[:, None, place.bias_at : place.bias_at + place.fan_out]))
        return layers

    def networks(self, indices: Sequence[int]) -> list[Network]:
        """Return copies of some networks, float32 on the CPU."""
        if len(indices) == 1:
            return [self._network(self.layers, indices[0])]
        layers = self.views(self.values.cpu())  # from a GPU in one piece
        return [self._network(layers, index) for index in indices]

    def _network(self, of_layers: Sequence[LayerViews], index: int) -> Network:
        layers = tuple(
            Layer(
                self._weight(views, number, index, self._first_rows[index], torch.float32),
                views.bias[index, 0].to("cpu", torch.float32, copy=True),
            )
            for number, views in enumerate(of_layers)
        )
        return Network(layers, self.architecture.activation, self.architecture.inputs)

    def named(self, flat: Tensor, index: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Return a copy of one network's part of a flat buffer on the CPU, with the names and shapes of its weights.

        Values that belong to unused pixels are zero.
        """
        nothing = torch.zeros_like(self._first_rows[index], dtype=dtype)
        tensors = {}
        for number, views in enumerate(self.views(flat)):
            tensors[f"layers.{number}.weight"] = self._weight(views, number, index, nothing, dtype)
            tensors[f"layers.{number}.bias"] = views.bias[index, 0].to("cpu", dtype, copy=True)
        return tensors

    def load_named(self, flat: Tensor, index: int, named: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy what `named` returned into a flat buffer.

        Raises `CheckpointDamaged` if it is of another network.
        """
        if {name: values.shape for name, values in named.items()} != self.architecture.weight_shapes:
            raise CheckpointDamaged(
                "The optimizer state is of another network, or was written by another version.",
                "Train the job again.",
            )
        for number, views in enumerate(self.views(flat)):
            weight, bias = (torch.tensor(named[f"layers.{number}.{part}"]) for part in ("weight", "bias"))
            self._fill(views, index, self._rows_of(number, weight), bias)

    def _weight(self, views: LayerViews, number: int, index: int, whole: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a copy of a weight [fan_out, fan_in] on the CPU.

        The first layer's rows are written into `whole`, laid out as by `_in_rows`; unused pixels keep the values of
        `whole`.
        """
        rows = views.weight[index].to("cpu", dtype)
        if number == 0:
            rows = whole[:, : rows.shape[1]].index_copy_(0, self._pixels, rows)
        return rows.t().clone(memory_format=torch.contiguous_format)

    def _in_rows(self, weight: Tensor) -> Tensor:
        """Return the first weight as [fan_in, stride] on the CPU.

        This layout is that of the buffer, which makes it faster to fill and to transpose.
        """
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
    """Return the places of the layers, and the length of the flat buffer."""
    places, end = [], 0
    for fan_in, fan_out in pairwise(sizes):
        stride = stride_of(fan_out)
        bias_at = end + rounded_up(fan_in * stride, LINE)
        places.append(LayerPlace(fan_in, fan_out, stride, end, bias_at))
        end = bias_at + rounded_up(stride, LINE)
    return places, end
