"""The training step: forward, backward and optimizer of K stacked networks, derived by hand.

No autograd: every intermediate has a buffer that is allocated once (`out=`), and all parameters of all layers
lie in one flat buffer, so that the optimizer is one kernel call. K networks of equal architecture are trained
side by side as one batched product a layer; K = 1 takes the plain matrix product.

Notation, for one network, layer l = 1..L, batch of B images, weight V_l [fan_in, fan_out] (the transpose of
`models.network.mlp.Layer.weight`, so that the forward product needs no transpose):

    h_0 = pixels / 255 (or that standardized),  z_l = h_{l-1} V_l + b_l,  h_l = phi(z_l)
    loss = -(1/B) sum_i log softmax(z_L)[i, y_i]
    dz_L = (softmax(z_L) - onehot(y)) / B,  dz_l = (dz_{l+1} V_{l+1}^T) * phi'(z_l)
    dV_l = h_{l-1}^T dz_l,  db_l = sum_i dz_l[i]

`Step` is what every engine offers; `StackedStep` is the engine that runs wherever torch does.
`models.training.kernel_step` is the other one, and tests hold the two to each other and to autograd.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.errors import CheckpointDamaged
from models.training.stacked_parameters import StackedParameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.network.mlp import Network
    from models.spec import SGD, Adam


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

    def run(self, images: Tensor, labels: Tensor, chosen: Tensor) -> None:
        """Take one optimizer step on a batch, `chosen` int64 [K, B]; see `run_steps`."""
        self.run_steps(images, labels, chosen, [self.lr])

    @property
    def steps_at_once(self) -> int:
        """Return how many steps the host should ask for at once."""
        return 1

    @abstractmethod
    def run_steps(self, images: Tensor, labels: Tensor, chosen: Tensor, lrs: Sequence[float] | Tensor) -> Tensor:
        """Take a step on each batch of `chosen` int64 [K, len(lrs) * B], and return their losses [len(lrs), K].

        `images` uint8 [N, pixels that take part] and `labels` int64 [N] are the whole training set on the device,
        `chosen` the rows that each network sees, batch after batch; `lrs` the learning rate of each step. What is
        returned may be overwritten by the next call.
        """

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
        return self.networks([index])[0]

    def networks(self, indices: Sequence[int]) -> list[Network]:
        """Return copies of some networks, float32 on the CPU."""
        return self.parameters.networks(indices)

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
        return self.optimizer_states([index])[0]

    def optimizer_states(self, indices: Sequence[int]) -> list[OptimizerState]:
        """Return what the optimizer remembers of some networks; see `optimizer_state`."""
        memory = self.memory if len(indices) == 1 else {name: flat.cpu() for name, flat in self.memory.items()}
        steps = self.steps
        states: list[OptimizerState] = [{COUNTER: np.array([steps], dtype=np.float32)} for _ in indices]
        for state, index in zip(states, indices, strict=True):
            for name, flat in memory.items():
                state |= {f"{name}.{part}": own.numpy() for part, own in self.parameters.named(flat, index).items()}
        return states

    def load_optimizer_state(self, states: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Continue from what `optimizer_state` returned for each network; all must have taken equally many steps.

        Raises `CheckpointDamaged` if it is another network's or another optimizer's.
        """
        steps = {int(state[COUNTER][0]) if COUNTER in state else -1 for state in states}
        if len(steps) != 1 or -1 in steps:
            raise CheckpointDamaged("What the optimizers remember is not all of one step.", "Train the job again.")
        for index, state in enumerate(states):
            unknown = [name for name in state if name != COUNTER and name.partition(".")[0] not in self.memory]
            if unknown:
                raise CheckpointDamaged(f"This optimizer has no {', '.join(unknown)}.", "Train the job again.")
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


class CapturableStep(Step):
    """A step that keeps all that it changes in tensors on its device, so that steps can be captured in a CUDA graph."""

    gathers_images: bool
    """Whether the images of all steps of a call are gathered before the first, in memory of their own."""

    @property
    @abstractmethod
    def changing(self) -> list[Tensor]:
        """Return every tensor that a step changes and a later one reads."""
