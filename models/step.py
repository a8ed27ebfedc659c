"""The training step: forward, backward and optimizer of K stacked networks, derived by hand.

No autograd: every intermediate has a buffer that is allocated once (`out=`), and all parameters of all layers
lie in one flat buffer, so that the optimizer is one kernel call. K networks of equal architecture are trained
side by side as one batched product a layer; K = 1 takes the plain matrix product.

Notation, for one network, layer l = 1..L, batch of B images, weight V_l [fan_in, fan_out] (the transpose of
`models.mlp.Layer.weight`, so that the forward product needs no transpose):

    h_0 = pixels / 255,  z_l = h_{l-1} V_l + b_l,  h_l = phi(z_l)
    loss = -(1/B) sum_i log softmax(z_L)[i, y_i]
    dz_L = (softmax(z_L) - onehot(y)) / B,  dz_l = (dz_{l+1} V_{l+1}^T) * phi'(z_l)
    dV_l = h_{l-1}^T dz_l,  db_l = sum_i dz_l[i]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.activations import ACTIVATIONS
from models.mlp import Layer, Network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.spec import SGD, Adam, Architecture

ALIGNMENT = 16  # floats: tensors in the flat buffer start on 64-byte cache lines


@dataclass(frozen=True)
class _LayerTensors:
    """Views into the flat buffers: weight and its gradient [K, fan_in, fan_out], bias and its [K, 1, fan_out]."""

    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor


@dataclass(frozen=True)
class _Buffers:
    """Intermediates of one batch size: `inputs` [K, B, 784]; a list has one entry a layer, [K, B, fan_out]."""

    bytes: Tensor
    inputs: Tensor
    z: list[Tensor]
    h: list[Tensor]
    dz: list[Tensor]
    log_probabilities: Tensor
    labels: Tensor


class StackedStep:
    """K networks of equal architecture with their optimizer, and the step that trains them.

    `networks` give the first weights. Everything lives on `device` as `dtype` (float32; float64 for checks).
    After a step `losses` [K] holds the mean loss of the batch, and `loss_sums` and `hit_sums` [K] have grown
    by the summed loss and the number of right answers, on the device, so that nothing waits for the host.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        architecture: Architecture,
        optimizer: Adam | SGD,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.architecture = architecture
        self.count = len(networks)
        self._kernels = ACTIVATIONS[architecture.activation]
        self._offsets, length = _flat_layout(architecture)
        self._values = torch.zeros((self.count, length), dtype=dtype, device=device)
        self._gradients = torch.zeros_like(self._values)
        self._layers = self._views()
        self._buffers: dict[int, _Buffers] = {}
        self.losses = torch.zeros(self.count, dtype=dtype, device=device)
        self.loss_sums = torch.zeros(self.count, dtype=torch.float64, device=device)
        self.hit_sums = torch.zeros(self.count, dtype=torch.int64, device=device)
        for index, network in enumerate(networks):
            self._load_network(index, network)
        self._values.grad = self._gradients
        self._optimizer = _make_optimizer(self._values, optimizer)

    @property
    def lr(self) -> float:
        """Return the learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        self._optimizer.param_groups[0]["lr"] = value

    # -- one step ----------------------------------------------------------------------------------------

    def run(self, images: Tensor, labels: Tensor, chosen: Tensor) -> None:
        """Take one optimizer step on a batch.

        `images` uint8 [N, 784] and `labels` int64 [N] are the whole training set on the device; `chosen` int64
        [K, B] are the rows that each network sees.
        """
        buffers = self.forward(images, labels, chosen)
        self.backward(buffers)
        self._optimizer.step()

    def forward(self, images: Tensor, labels: Tensor, chosen: Tensor) -> _Buffers:
        """Compute the activations, the loss and its gradient at the output; see `run` for the arguments."""
        buffers = self._buffers_for(chosen.shape[1])
        rows = chosen.reshape(-1)
        torch.index_select(images, 0, rows, out=buffers.bytes)
        torch.index_select(labels, 0, rows, out=buffers.labels)
        buffers.inputs.copy_(buffers.bytes.view_as(buffers.inputs)).div_(255.0)
        h = buffers.inputs
        for index, layer in enumerate(self._layers):
            _affine(h, layer.weight, layer.bias, out=buffers.z[index])
            if index < len(self._layers) - 1:
                self._kernels.forward(buffers.z[index], buffers.h[index])
                h = buffers.h[index]
        self._loss(buffers)
        return buffers

    def _loss(self, buffers: _Buffers) -> None:
        logits, log_p, dz = buffers.z[-1], buffers.log_probabilities, buffers.dz[-1]
        batch = logits.shape[1]
        target = buffers.labels.view(self.count, batch, 1)
        torch.ops.aten._log_softmax.out(logits, -1, False, out=log_p)  # noqa: SLF001 - an operator, not a private name
        torch.exp(log_p, out=dz)
        dz.scatter_add_(2, target, torch.full_like(dz[:, :, :1], -1.0))
        dz.div_(batch)
        batch_sums = log_p.gather(2, target).sum((1, 2)).neg_()
        torch.div(batch_sums, batch, out=self.losses)
        self.loss_sums.add_(batch_sums)
        self.hit_sums.add_((logits.argmax(2) == target[:, :, 0]).sum(1))

    def backward(self, buffers: _Buffers) -> None:
        """Fill the gradients of all layers from the gradient at the output."""
        for index in range(len(self._layers) - 1, -1, -1):
            layer, dz = self._layers[index], buffers.dz[index]
            h = buffers.inputs if index == 0 else buffers.h[index - 1]
            _product(h.transpose(1, 2), dz, out=layer.weight_gradient)
            torch.sum(dz, 1, keepdim=True, out=layer.bias_gradient)
            if index > 0:
                below = buffers.dz[index - 1]
                _product(dz, layer.weight.transpose(1, 2), out=below)
                self._kernels.backward(below, buffers.z[index - 1], buffers.h[index - 1], below)

    # -- results -----------------------------------------------------------------------------------------

    def take_sums(self) -> tuple[list[float], list[int]]:
        """Return the summed loss and the right answers of each network since the last call, and reset them."""
        sums, hits = self.loss_sums.tolist(), self.hit_sums.tolist()
        self.loss_sums.zero_()
        self.hit_sums.zero_()
        return sums, hits

    def network(self, index: int) -> Network:
        """Return a copy of one network, float32 on the CPU."""
        layers = tuple(
            Layer(
                layer.weight[index].t().contiguous().to("cpu", torch.float32, copy=True),
                layer.bias[index, 0].to("cpu", torch.float32, copy=True),
            )
            for layer in self._layers
        )
        return Network(layers, self.architecture.activation)

    def gradients(self, index: int) -> Network:
        """Return a copy of the gradients of one network, in the shape of a network, in the step's dtype."""
        layers = tuple(
            Layer(layer.weight_gradient[index].t().cpu().clone(), layer.bias_gradient[index, 0].cpu().clone())
            for layer in self._layers
        )
        return Network(layers, self.architecture.activation)

    def gradient_rms(self, index: int) -> list[float]:
        """Return the root mean square of each layer's weight gradient at the last step."""
        return [float(layer.weight_gradient[index].square().mean().sqrt()) for layer in self._layers]

    def optimizer_state(self, index: int) -> dict[str, NDArray[np.float32]]:
        """Return what the optimizer remembers of one network, flat, by torch's names; a copy on the CPU."""
        state = self._optimizer.state[self._values]
        named = {}
        for name, value in state.items():
            if value is None:
                continue
            own = value[index] if value.dim() == 2 else value.reshape(1)
            named[name] = own.to("cpu", torch.float32, copy=True).numpy()
        return named

    def load_optimizer_state(self, states: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Continue from what `optimizer_state` returned for each network."""
        fresh: dict[str, Tensor] = {}
        for name, first in states[0].items():
            tensors = [torch.from_numpy(np.array(state[name])) for state in states]
            together = tensors[0].reshape(()) if first.size == 1 else torch.stack(tensors)
            fresh[name] = together.to(self._values.device)
        self._optimizer.state[self._values].update(fresh)

    # -- layout ------------------------------------------------------------------------------------------

    def _views(self) -> list[_LayerTensors]:
        views = []
        for weight_at, bias_at, fan_in, fan_out in self._offsets:
            weight, weight_gradient = (
                flat[:, weight_at : weight_at + fan_in * fan_out].view(self.count, fan_in, fan_out)
                for flat in (self._values, self._gradients)
            )
            bias, bias_gradient = (
                flat[:, bias_at : bias_at + fan_out].view(self.count, 1, fan_out)
                for flat in (self._values, self._gradients)
            )
            views.append(_LayerTensors(weight, bias, weight_gradient, bias_gradient))
        return views

    def _load_network(self, index: int, network: Network) -> None:
        for layer, own in zip(self._layers, network.layers, strict=True):
            layer.weight[index].copy_(own.weight.t())
            layer.bias[index, 0].copy_(own.bias)

    def _buffers_for(self, batch: int) -> _Buffers:
        if batch not in self._buffers:
            self._buffers[batch] = self._allocate(batch)
        return self._buffers[batch]

    def _allocate(self, batch: int) -> _Buffers:
        def empty(width: int) -> Tensor:
            return self._values.new_empty((self.count, batch, width))

        pixels, *widths = self.architecture.sizes
        z = [empty(width) for width in widths]
        return _Buffers(
            bytes=self._values.new_empty((self.count * batch, pixels), dtype=torch.uint8),
            inputs=empty(pixels),
            z=z,
            h=z[:-1] if self._kernels.in_place else [empty(width) for width in widths[:-1]],
            dz=[empty(width) for width in widths],
            log_probabilities=empty(widths[-1]),
            labels=self._values.new_empty(self.count * batch, dtype=torch.int64),
        )


def _flat_layout(architecture: Architecture) -> tuple[list[tuple[int, int, int, int]], int]:
    """Return (weight offset, bias offset, fan_in, fan_out) of each layer, and the length of the flat buffer."""
    offsets, end = [], 0
    for fan_in, fan_out in pairwise(architecture.sizes):
        bias_at = end + _aligned(fan_in * fan_out)
        offsets.append((end, bias_at, fan_in, fan_out))
        end = bias_at + _aligned(fan_out)
    return offsets, end


def _aligned(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def _make_optimizer(values: Tensor, optimizer: Adam | SGD) -> torch.optim.Optimizer:
    if optimizer.name == "adam":
        return torch.optim.Adam([values], lr=optimizer.lr, weight_decay=optimizer.weight_decay, fused=True)
    return torch.optim.SGD(
        [values], lr=optimizer.lr, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay, fused=True
    )


def _affine(h: Tensor, weight: Tensor, bias: Tensor, *, out: Tensor) -> None:
    """out = h weight + bias for K stacked problems; one plain product where K = 1, which CPUs do faster."""
    if h.shape[0] == 1:
        torch.addmm(bias[0], h[0], weight[0], out=out[0])
    else:
        torch.baddbmm(bias, h, weight, out=out)


def _product(left: Tensor, right: Tensor, *, out: Tensor) -> None:
    """out = left right for K stacked problems; see `_affine`."""
    if left.shape[0] == 1:
        torch.mm(left[0], right[0], out=out[0])
    else:
        torch.bmm(left, right, out=out)
