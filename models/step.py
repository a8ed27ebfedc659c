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

`Step` is what every engine offers; `StackedStep` is the engine that runs wherever torch does. `models.kernel_step` is
the other one, and tests hold the two to each other and to autograd.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.activations import ACTIVATIONS
from models.errors import CheckpointDamaged
from models.parameters import StackedParameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.mlp import Network
    from models.parameters import LayerViews
    from models.spec import SGD, Adam, Architecture, Precision

OptimizerState = dict[str, "NDArray[np.float32]"]
COUNTER = "step"


class Step(ABC):
    """K networks of equal architecture with their optimizer, and the step that trains them.

    After a step `losses` [K] holds the mean loss of the batch, and `loss_sums` and `hit_sums` [K] have grown
    by the summed loss and the number of right answers, on the device, so that nothing waits for the host.
    """

    engine: str
    """The engine's name, as jobs tell it."""

    def __init__(self, parameters: StackedParameters, optimizer: Adam | SGD) -> None:
        self.parameters = parameters
        self.memory = {name: parameters.zeros() for name in _remembered(optimizer)}
        self.count = parameters.count
        device = parameters.values.device
        self.losses = torch.zeros(self.count, dtype=parameters.values.dtype, device=device)
        self.loss_sums = torch.zeros(self.count, dtype=torch.float64, device=device)
        self.hit_sums = torch.zeros(self.count, dtype=torch.int64, device=device)
        self.masked: set[int] = set()
        """Networks whose results nobody wants any more: an engine may leave them out."""

    @property
    @abstractmethod
    def lr(self) -> float:
        """Return the learning rate."""

    @lr.setter
    @abstractmethod
    def lr(self, value: float) -> None: ...

    @abstractmethod
    def run(self, images: Tensor, labels: Tensor, chosen: Tensor) -> None:
        """Take one optimizer step on a batch.

        `images` uint8 [N, pixels that take part] and `labels` int64 [N] are the whole training set on the device;
        `chosen` int64 [K, B] are the rows that each network sees.
        """

    @property
    def steps_at_once(self) -> int:
        """Return how many steps `run_steps` may be given at most."""
        return 1

    def run_steps(self, images: Tensor, labels: Tensor, chosen: Tensor, lrs: Sequence[float]) -> Tensor:
        """Take a step on each batch of `chosen` int64 [K, len(lrs) * B], and return their losses [len(lrs), K].

        A network whose loss is not finite takes no further step. For the other arguments see `run`.
        """
        (self.lr,) = lrs
        self.run(images, labels, chosen)
        return self.losses.view(1, -1)

    def gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        """Return the gradients of a batch, flat as the parameters are; change no parameter and no sum.

        Fills `losses`. The next step overwrites what is returned.
        """
        sums, hits = self.loss_sums.clone(), self.hit_sums.clone()
        gradients = self._gradients_of(images, labels, chosen)
        self.loss_sums.copy_(sums)
        self.hit_sums.copy_(hits)
        return gradients

    @abstractmethod
    def _gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor: ...

    def take_sums(self) -> tuple[list[float], list[int]]:
        """Return the summed loss and the right answers of each network since the last call, and reset them."""
        sums, hits = self.loss_sums.tolist(), self.hit_sums.tolist()
        self.loss_sums.zero_()
        self.hit_sums.zero_()
        return sums, hits

    def network(self, index: int) -> Network:
        """Return a copy of one network, float32 on the CPU."""
        return self.parameters.network(index)

    # -- the optimizer's memory ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def steps(self) -> int:
        """Return how many steps the optimizer has taken; 0 where that makes no difference to it."""

    @steps.setter
    @abstractmethod
    def steps(self, value: int) -> None: ...

    def optimizer_state(self, index: int) -> OptimizerState:
        """Return what the optimizer remembers of one network, a copy on the CPU.

        By torch's names and those of the weights: `exp_avg.layers.0.weight` [fan_out, fan_in], ..., and `step` [1].
        The form is every engine's, so that each can go on from another's.
        """
        state = {COUNTER: np.array([self.steps], dtype=np.float32)}
        for name, flat in self.memory.items():
            state |= {f"{name}.{part}": own.numpy() for part, own in self.parameters.named(flat, index).items()}
        return state

    def load_optimizer_state(self, states: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Continue from what `optimizer_state` returned for each network; all must have taken equally many steps.

        Raises `CheckpointDamaged` if it is another network's or another optimizer's.
        """
        steps = {int(state[COUNTER][0]) if COUNTER in state else -1 for state in states}
        if len(steps) != 1 or -1 in steps:
            raise CheckpointDamaged("What the optimizers remember is not all of one step.", "Train the job anew.")
        for index, state in enumerate(states):
            unknown = [name for name in state if name != COUNTER and name.partition(".")[0] not in self.memory]
            if unknown:
                raise CheckpointDamaged(f"This optimizer has no {', '.join(unknown)}.", "Train the job anew.")
            for name, flat in self.memory.items():
                prefix = f"{name}."
                own = {part.removeprefix(prefix): values for part, values in state.items() if part.startswith(prefix)}
                self.parameters.load_named(flat, index, own)
        self.steps = steps.pop()


def _remembered(optimizer: Adam | SGD) -> tuple[str, ...]:
    """Return what an optimizer remembers for each parameter, by torch's names."""
    if optimizer.name == "adam":
        return ("exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if optimizer.momentum else ()


@dataclass(frozen=True)
class _Buffers:
    """Intermediates of one batch size: `inputs` [K, B, pixels]; a list has one entry a layer, [K, B, fan_out]."""

    bytes: Tensor
    inputs: Tensor
    z: list[Tensor]
    h: list[Tensor]
    dz: list[Tensor]
    log_probabilities: Tensor
    labels: Tensor


class StackedStep(Step):
    """The step in torch, on a CPU or a GPU; see `Step`.

    `networks` give the first weights. Everything lives on `device` as `dtype` (float32; float64 for checks). On a GPU
    all that changes from step to step is a tensor there, so that the step can be captured in a CUDA graph.
    `precision` is what products may round their inputs to (bf16: their results too); `lr_on_device` (None: on a GPU)
    makes the rate a tensor too.
    """

    engine = "stacked-step"

    def __init__(
        self,
        networks: Sequence[Network],
        architecture: Architecture,
        optimizer: Adam | SGD,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        *,
        pixels: Tensor | None = None,
        precision: Precision = "float32",
        lr_on_device: bool | None = None,
    ) -> None:
        if pixels is None:
            pixels = torch.arange(architecture.sizes[0])
        super().__init__(StackedParameters(networks, architecture, pixels, device, dtype), optimizer)
        self._product_dtype = torch.bfloat16 if precision == "bf16" else dtype
        self._kernels = ACTIVATIONS[architecture.activation]
        self._sizes = (len(pixels), *architecture.sizes[1:])
        self._layers = self.parameters.layers
        self._values = self.parameters.values
        self._gradients = self.parameters.zeros()
        self._gradient_layers = self.parameters.views(self._gradients)
        self._buffers: dict[int, _Buffers] = {}
        self._values.grad = self._gradients
        self._steps = torch.zeros((), device=device)
        on_gpu = device.type == "cuda"
        self._optimizer = _make_optimizer(self._values, optimizer, on_gpu if lr_on_device is None else lr_on_device)
        self._optimizer.state[self._values] = self.memory | ({COUNTER: self._steps} if optimizer.name == "adam" else {})

    @property
    def lr(self) -> float:
        """Return the learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        group = self._optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value

    @property
    def changing(self) -> list[Tensor]:
        """Return every tensor that a step changes and a later one reads."""
        return [self._values, *self.memory.values(), self._steps, self.losses, self.loss_sums, self.hit_sums]

    @property
    def lr_tensor(self) -> Tensor:
        """Return the learning rate as the tensor that a step on a GPU reads."""
        lr = self._optimizer.param_groups[0]["lr"]
        assert isinstance(lr, Tensor)
        return lr

    # -- one step ----------------------------------------------------------------------------------------

    def run(self, images: Tensor, labels: Tensor, chosen: Tensor) -> None:
        """Take one optimizer step on a batch; see `Step.run`."""
        self._backward(self._forward(images, labels, chosen))
        self._optimizer.step()

    def _gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        self._backward(self._forward(images, labels, chosen))
        return self._gradients

    def _forward(self, images: Tensor, labels: Tensor, chosen: Tensor) -> _Buffers:
        """Compute the activations, the loss and its gradient at the output; see `Step.run` for the arguments."""
        buffers = self._buffers_for(chosen.shape[1])
        rows = chosen.reshape(-1)
        torch.index_select(images, 0, rows, out=buffers.bytes)
        torch.index_select(labels, 0, rows, out=buffers.labels)
        buffers.inputs.copy_(buffers.bytes.view_as(buffers.inputs)).div_(255.0)
        h = buffers.inputs
        for index, layer in enumerate(self._layers):
            self._affine(h, layer, out=buffers.z[index])
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

    def _backward(self, buffers: _Buffers) -> None:
        """Fill the gradients of all layers from the gradient at the output."""
        for index in range(len(self._layers) - 1, -1, -1):
            layer, gradient, dz = self._layers[index], self._gradient_layers[index], buffers.dz[index]
            h = buffers.inputs if index == 0 else buffers.h[index - 1]
            self._product(h.transpose(1, 2), dz, out=gradient.weight)
            torch.sum(dz, 1, keepdim=True, out=gradient.bias)
            if index > 0:
                below = buffers.dz[index - 1]
                self._product(dz, layer.weight.transpose(1, 2), out=below)
                self._kernels.backward(below, buffers.z[index - 1], buffers.h[index - 1], below)

    def _affine(self, h: Tensor, layer: LayerViews, *, out: Tensor) -> None:
        """out = h weight + bias for K stacked problems; one plain product where K = 1, which CPUs do faster."""
        if self._product_dtype is not out.dtype:
            self._product(h, layer.weight, out=out)
            out.add_(layer.bias)
        elif h.shape[0] == 1:
            torch.addmm(layer.bias[0], h[0], layer.weight[0], out=out[0])
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
        return int(self._steps)

    @steps.setter
    def steps(self, value: int) -> None:
        self._steps.fill_(value)

    def _buffers_for(self, batch: int) -> _Buffers:
        if batch not in self._buffers:
            self._buffers[batch] = self._allocate(batch)
        return self._buffers[batch]

    def _allocate(self, batch: int) -> _Buffers:
        def empty(width: int) -> Tensor:
            return self._values.new_empty((self.count, batch, width))

        pixels, *widths = self._sizes
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


def _make_optimizer(values: Tensor, optimizer: Adam | SGD, lr_on_device: bool) -> torch.optim.Optimizer:
    lr = torch.tensor(optimizer.lr, device=values.device) if lr_on_device else optimizer.lr
    if optimizer.name == "adam":
        capturable = values.device.type == "cuda"
        return torch.optim.Adam([values], lr=lr, weight_decay=optimizer.weight_decay, fused=True, capturable=capturable)
    return torch.optim.SGD(
        [values], lr=lr, momentum=optimizer.momentum, weight_decay=optimizer.weight_decay, fused=True
    )
