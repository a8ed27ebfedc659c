"""The training step in torch, which runs wherever torch does; see `models.training.step` for the formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.native.row_layout import LINE, rounded_up
from models.network.activations import ACTIVATIONS
from models.training.stacked_parameters import StackedParameters
from models.training.step import COUNTER, CapturableStep
from models.vocabulary import MNIST_DEVIATION, MNIST_MEAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.network.architecture import Architecture
    from models.network.mlp import Network
    from models.spec import SGD, Adam
    from models.training.stacked_parameters import LayerViews
    from models.vocabulary import Precision

aten = torch.ops.aten
PIECES = 36
"""What the parameters are cut into for an optimizer on a GPU. Its kernel gives 65,536 numbers of a tensor to one block
of threads, so that a whole network would keep five blocks busy; and it takes 36 tensors a launch (torch with CUDA 12).
"""


@dataclass(frozen=True)
class TorchOptions:
    """How the step in torch computes.

    `dtype`: float32, or float64 for checks. `precision`: what products may round their inputs to (bf16: their results
    too). `for_gpu` (None: on a GPU) makes the rate a tensor, and cuts the parameters into `PIECES` for the optimizer.
    """

    dtype: torch.dtype = torch.float32
    precision: Precision = "float32"
    for_gpu: bool | None = None


@dataclass(frozen=True)
class _Buffers:
    """Intermediates of a few steps of one batch size.

    What is made for all of the steps at once: `inputs` [K, steps * B, pixels], as `bytes` before they are divided,
    `labels` int64 [steps, K, B, 1], and `log_p_gradients` [steps, K, B, 10], those of the loss by the logarithms of the
    probabilities: -1/B at the label. What is kept of all steps for the sums: `logits` and `log_p`, of that shape too.
    What each step overwrites has one entry a layer, [K, B, fan_out]; the last `z` is where the logits are.
    """

    bytes: Tensor
    inputs: Tensor
    labels: Tensor
    log_p_gradients: Tensor
    logits: Tensor
    log_p: Tensor
    z: list[Tensor]
    h: list[Tensor]
    dz: list[Tensor]


class StackedStep(CapturableStep):
    """The step in torch, on a CPU or a GPU; see `Step`.

    `networks` give the first weights; `pixels` int64 [n] are the inputs that take part (None: all). On a GPU all that
    changes from step to step is a tensor there, so that steps can be captured in a CUDA graph. What does not depend on
    the weights is computed for all steps of a call at once, since a GPU needs microseconds for the smallest kernel.
    """

    engine = "stacked-step"
    gathers_images = True

    def __init__(
        self,
        networks: Sequence[Network],
        architecture: Architecture,
        optimizer: Adam | SGD,
        device: torch.device,
        pixels: Tensor | None = None,
        options: TorchOptions | None = None,
    ) -> None:
        options = options or TorchOptions()
        if pixels is None:
            pixels = torch.arange(architecture.sizes[0])
        super().__init__(StackedParameters(networks, architecture, pixels, device, options.dtype), optimizer)
        self._product_dtype = torch.bfloat16 if options.precision == "bf16" else options.dtype
        self._kernels = ACTIVATIONS[architecture.activation]
        self._standardizes = architecture.inputs == "standardized"
        self._sizes = (len(pixels), *architecture.sizes[1:])
        self._layers = self.parameters.layers
        self._values = self.parameters.values
        self._gradients = self.parameters.zeros()
        self._gradient_layers = self.parameters.views(self._gradients)
        self._buffers: dict[tuple[int, int], _Buffers] = {}
        for_gpu = device.type == "cuda" if options.for_gpu is None else options.for_gpu
        pieces = _pieces(self._values, PIECES if for_gpu else 1)
        self._steps = torch.zeros(len(pieces), device=device)
        lr = torch.tensor(optimizer.lr, device=device) if for_gpu else optimizer.lr
        self._optimizer = _make_optimizer(pieces, optimizer, lr)
        self._give_to_optimizer(pieces, optimizer)

    def _give_to_optimizer(self, pieces: Sequence[Tensor], optimizer: Adam | SGD) -> None:
        """Let the optimizer find the gradients, and keep what it remembers, where this step has them."""
        of_memory = {name: _pieces(flat, len(pieces)) for name, flat in self.memory.items()}
        for index, (piece, gradients) in enumerate(zip(pieces, _pieces(self._gradients, len(pieces)), strict=True)):
            piece.grad = gradients
            counter = {COUNTER: self._steps[index]} if optimizer.name == "adam" else {}
            self._optimizer.state[piece] = {name: parts[index] for name, parts in of_memory.items()} | counter

    @property
    def lr(self) -> float:
        """Return the learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float | Tensor) -> None:
        group = self._optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            value = torch.as_tensor(value, dtype=torch.float32, device=self._values.device)
        group["lr"] = value

    @property
    def changing(self) -> list[Tensor]:
        """Return every tensor that a step changes and a later one reads."""
        return [self._values, *self.memory.values(), self._steps, self.losses, self.loss_sums, self.hit_sums]

    # -- one step ----------------------------------------------------------------------------------------

    def run_steps(self, images: Tensor, labels: Tensor, chosen: Tensor, lrs: Sequence[float] | Tensor) -> Tensor:
        """Take some steps; see `Step.run_steps`."""
        buffers = self._gathered(len(lrs), images, labels, chosen)
        for index in range(len(lrs)):
            self.lr = lrs[index]
            self._forward(buffers, index)
            self._backward(buffers, index)
            self._optimizer.step()
        return self._added_up(buffers)

    def _gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        buffers = self._gathered(1, images, labels, chosen)
        self._forward(buffers, 0)
        self._backward(buffers, 0)
        self._added_up(buffers)
        return self._gradients

    def _gathered(self, steps: int, images: Tensor, labels: Tensor, chosen: Tensor) -> _Buffers:
        """Return the buffers of some steps, with what does not depend on weights; for the arguments see `run_steps`."""
        batch = chosen.shape[1] // steps
        buffers = self._buffers_for(steps, batch)
        torch.index_select(images, 0, chosen.reshape(-1), out=buffers.bytes)
        buffers.inputs.copy_(buffers.bytes.view_as(buffers.inputs)).div_(255.0)
        if self._standardizes:
            buffers.inputs.sub_(MNIST_MEAN).div_(MNIST_DEVIATION)
        by_step = chosen.reshape(self.count, steps, batch).transpose(0, 1).reshape(-1)
        torch.index_select(labels, 0, by_step, out=buffers.labels.view(-1))
        buffers.log_p_gradients.zero_().scatter_(3, buffers.labels, -1.0 / batch)
        return buffers

    def _forward(self, buffers: _Buffers, index: int) -> None:
        """Compute the activations of a step, the logarithms of the probabilities, and the loss's gradient at z_L."""
        h, z = self._inputs(buffers, index), [*buffers.z, buffers.logits[index]]
        for number, layer in enumerate(self._layers):
            self._affine(h, layer, out=z[number])
            if number < len(self._layers) - 1:
                self._kernels.forward(z[number], buffers.h[number])
                h = buffers.h[number]
        log_p, given = buffers.log_p[index], buffers.log_p_gradients[index]
        aten._log_softmax.out(z[-1], -1, False, out=log_p)  # noqa: SLF001 - an operator, not a private name
        aten._log_softmax_backward_data.out(given, log_p, -1, log_p.dtype, out=buffers.dz[-1])  # noqa: SLF001

    def _backward(self, buffers: _Buffers, step: int) -> None:
        """Fill the gradients of all layers from the gradient at z_L."""
        for index in range(len(self._layers) - 1, -1, -1):
            layer, gradient, dz = self._layers[index], self._gradient_layers[index], buffers.dz[index]
            h = self._inputs(buffers, step) if index == 0 else buffers.h[index - 1]
            self._product(h.transpose(1, 2), dz, out=gradient.weight)
            torch.sum(dz, 1, keepdim=True, out=gradient.bias)
            if index > 0:
                below = buffers.dz[index - 1]
                self._product(dz, layer.weight.transpose(1, 2), out=below)
                self._kernels.backward(below, buffers.z[index - 1], buffers.h[index - 1], below)

    @staticmethod
    def _inputs(buffers: _Buffers, index: int) -> Tensor:
        """Return the inputs of a step, [K, B, pixels]."""
        batch = buffers.logits.shape[2]
        return buffers.inputs[:, index * batch : (index + 1) * batch]

    def _added_up(self, buffers: _Buffers) -> Tensor:
        """Return the losses of all steps [steps, K]; add them, and the right answers, to the sums."""
        of_steps = buffers.log_p.gather(3, buffers.labels).sum((2, 3)).neg_()
        self.loss_sums.add_(of_steps.sum(0, dtype=torch.float64))
        self.hit_sums.add_((buffers.logits.argmax(3, keepdim=True) == buffers.labels).sum((0, 2, 3)))
        of_steps.div_(buffers.logits.shape[2])
        self.losses.copy_(of_steps[-1])
        return of_steps

    def _affine(self, h: Tensor, layer: LayerViews, *, out: Tensor) -> None:
        """out = h weight + bias for K stacked problems; one plain product where K = 1, which CPUs do faster."""
        if self._product_dtype is not out.dtype:
            self._product(h, layer.weight, out=out)
            out.add_(layer.bias)
        elif h.shape[0] == 1:
            torch.addmm(layer.bias[0, 0], h[0], layer.weight[0], out=out[0])  # a bias [n] is added by cuBLAS itself
        else:
            torch.baddbmm(layer.bias, h, layer.weight, out=out)

    def _product(self, left: Tensor, right: Tensor, *, out: Tensor) -> None:
        """out = left right for K stacked problems; see `_affine`."""
        if self._product_dtype is not out.dtype:
            out.copy_(torch.bmm(left.to(self._product_dtype), right.to(self._product_dtype)))
        elif left.shape[0] == 1:
            torch.mm(left[0], right[0], out=out[0])
        else:
            torch.bmm(left, right, out=out)

    @property
    def steps(self) -> int:
        """Return how many steps Adam has taken; 0 for SGD."""
        return int(self._steps[0])

    @steps.setter
    def steps(self, value: int) -> None:
        self._steps.fill_(value)

    def _buffers_for(self, steps: int, batch: int) -> _Buffers:
        if (steps, batch) not in self._buffers:
            self._buffers[steps, batch] = self._allocate(steps, batch)
        return self._buffers[steps, batch]

    def _allocate(self, steps: int, batch: int) -> _Buffers:
        def empty(width: int) -> Tensor:
            return self._values.new_empty((self.count, batch, width))

        pixels, *hidden, classes = self._sizes
        of_all = [self._values.new_empty((steps, self.count, batch, classes)) for _ in range(3)]
        z = [empty(width) for width in hidden]
        return _Buffers(
            bytes=self._values.new_empty((self.count * steps * batch, pixels), dtype=torch.uint8),
            inputs=self._values.new_empty((self.count, steps * batch, pixels)),
            labels=self._values.new_empty((steps, self.count, batch, 1), dtype=torch.int64),
            log_p_gradients=of_all[0],
            logits=of_all[1],
            log_p=of_all[2],
            z=z,
            h=z if self._kernels.in_place else [empty(width) for width in hidden],
            dz=[empty(width) for width in (*hidden, classes)],
        )


def _pieces(flat: Tensor, count: int) -> Sequence[Tensor]:
    """Return a flat buffer in at most `count` pieces of equal length, each of whole cache lines but for the last."""
    return torch.split(flat.view(-1), rounded_up(-(-flat.numel() // count), LINE))


def _make_optimizer(pieces: Sequence[Tensor], optimizer: Adam | SGD, lr: float | Tensor) -> torch.optim.Optimizer:
    if optimizer.name == "adam":
        capturable = pieces[0].device.type == "cuda"
        return torch.optim.Adam(pieces, lr=lr, weight_decay=optimizer.weight_decay, fused=True, capturable=capturable)
    return torch.optim.SGD(pieces, lr=lr, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay, fused=True)
