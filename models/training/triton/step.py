"""The engine `triton-step`: see `models.training.step` for what a step is, and `forward` for the kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import triton
from torch import Tensor

from models.native.row_layout import columns_of
from models.training.stacked_parameters import StackedParameters
from models.training.step import CapturableStep
from models.training.triton.gradients import gradients_in_torch
from models.training.triton.kernels.arithmetic import INTERPRETED
from models.training.triton.kernels.updates import add_up, prepare
from models.training.triton.launches import Between, Call, Launches, Rule
from models.training.triton.plan import MANY, Card, Plan, for_many, padded, plan_of

if TYPE_CHECKING:
    from models.network.architecture import Architecture
    from models.network.mlp import Network
    from models.spec import SGD, Adam
    from models.vocabulary import Precision

COMPILERS = 8
IMAGES_AT_ONCE, STEPS_AT_ONCE = 128, 32
"""What the sums of a call's losses take at once; more steps than usual take kernels of their own."""


@dataclass(frozen=True)
class Options:
    """How a `TritonStep` is made: the size of its batches (a smaller last one may come), the card, the precision.

    `plan` replaces the plan that follows from those, for measurements. `many`: number of networks from which
    `plan.for_many` is used; the bits are the same. `warm`: compile all kernels at once.
    """

    batch: int
    card: Card
    precision: Precision = "float32"
    plan: Plan | None = field(default=None)
    many: int = MANY
    warm: bool = True


class TritonStep(CapturableStep):
    """Training steps as Triton kernels; see `Step`.

    `networks` give the first weights, `pixels` int64 [n] are the inputs that take part. Parameters, sums, counter and
    learning rates are on the device, so that steps can be captured in a CUDA graph. Weights and what the optimizer
    remembers are float32 at every precision. Dropped networks are trained along, since no other sees them.
    """

    engine = "triton-step"
    gathers_images = False

    def __init__(
        self,
        networks: Sequence[Network],
        architecture: Architecture,
        optimizer: Adam | SGD,
        pixels: Tensor,
        device: torch.device,
        options: Options,
    ) -> None:
        parameters = StackedParameters(networks, architecture, pixels, device, torch.float32, columns_of)
        super().__init__(parameters, optimizer)
        self._device, self._rule = device, _rule(optimizer, parameters.values, self.memory)
        self._activation = architecture.activation
        sizes = (len(pixels), *architecture.sizes[1:])
        plan = options.plan or plan_of(sizes, options.batch, options.card)
        if options.plan is None and self.count >= options.many:
            plan = for_many(plan)
        self._launches = Launches(plan, parameters, self._rule, architecture.activation, options.precision)
        self._counter = torch.zeros(1, dtype=torch.int64, device=device)
        self._lr = torch.full((1,), optimizer.lr, device=device)
        self._between: dict[int, Between] = {}
        self._calls: dict[tuple[int, int], _Notes] = {}
        if options.warm and not INTERPRETED:
            self.warm(options.batch)

    @property
    def lr(self) -> float:
        """Return the learning rate."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr.fill_(value)

    @property
    def steps(self) -> int:
        """Return how many steps Adam has taken; 0 for SGD."""
        return int(self._counter)

    @steps.setter
    def steps(self, value: int) -> None:
        self._counter.fill_(value)

    @property
    def changing(self) -> list[Tensor]:
        """Return every tensor that a step changes and a later one reads."""
        of_steps = [self._counter, self._lr, self.losses, self.loss_sums, self.hit_sums]
        return [self.parameters.values, *self.memory.values(), *of_steps]

    def run_steps(self, images: Tensor, labels: Tensor, chosen: Tensor, lrs: Sequence[float] | Tensor) -> Tensor:
        """Take some steps; see `Step.run_steps`."""
        steps = len(lrs)
        batch = chosen.shape[1] // steps
        notes = self._notes_of(steps, batch)
        rates = lrs.contiguous() if isinstance(lrs, Tensor) else torch.tensor(lrs, device=self._device)
        rows = chosen if chosen.stride(1) == 1 else chosen.contiguous()
        call = Call(images, labels, rows, batch, notes.loss, notes.hit, notes.rates)
        with self._on_device():
            places = _places_of(steps)
            arguments = (rates, self._counter, notes.rates, self._lr, steps)
            prepare[1,](*arguments, GG=places, OPT=self._rule.name, num_warps=1)
            launches = list(self._launches.of(call, self._between_of(batch)))
            for step in range(steps):
                for launch in launches:
                    launch.run(step)
            add_up[self.count,](*self._added_up(notes, steps, batch), GG=places, BB=IMAGES_AT_ONCE)
        return notes.losses

    def warm(self, batch: int) -> None:
        """Compile every kernel of a batch size, and of smaller batches; launch nothing and change nothing.

        The kernels are compiled side by side: most of the work is done outside the interpreter's lock.
        """
        first = self.parameters.places[0]
        images = torch.empty((1, first.fan_in), dtype=torch.uint8, device=self._device)
        nothing = torch.empty((self.count, batch), dtype=torch.int64, device=self._device)
        notes = _Notes.of(1, self.count, 1, self._device)
        call = Call(images, nothing[0], nothing, batch, notes.loss, notes.hit, notes.rates)
        with self._on_device(), ThreadPoolExecutor(COMPILERS) as compilers, triton.AsyncCompileMode(compilers):
            arguments = (self._lr, self._counter, notes.rates, self._lr, 1)
            prepare.warmup(*arguments, grid=(1,), GG=STEPS_AT_ONCE, OPT=self._rule.name, num_warps=1)
            for launch in self._launches.of(call, self._between_of(batch)):
                launch.compile()
            add_up.warmup(*self._added_up(notes, 1, batch), grid=(1,), GG=STEPS_AT_ONCE, BB=IMAGES_AT_ONCE)

    def _gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        gradients, losses = gradients_in_torch(self.parameters, images, labels, chosen)
        self.losses.copy_(losses)
        return gradients

    # -- buffers -----------------------------------------------------------------------------------------

    def _added_up(self, notes: _Notes, steps: int, batch: int) -> tuple[Tensor | int, ...]:
        """Return the arguments of `add_up`."""
        counted = steps if self._rule.name == "adam" else 0
        sums = (self.losses, self.loss_sums, self.hit_sums)
        return (notes.loss, notes.hit, notes.losses, *sums, self._counter, steps, self.count, batch, counted)

    def _notes_of(self, steps: int, batch: int) -> _Notes:
        if (steps, batch) not in self._calls:
            self._calls[steps, batch] = _Notes.of(steps, self.count, batch, self._device)
        return self._calls[steps, batch]

    def _between_of(self, batch: int) -> Between:
        if batch not in self._between:
            widths = [padded(place.fan_out) for place in self.parameters.places]
            shapes = [(self.count, batch, width) for width in widths]
            h = [torch.zeros(shape, device=self._device) for shape in shapes[:-1]]
            kept = [torch.zeros_like(z) for z in h] if self._activation == "gelu" else h
            self._between[batch] = Between(h, kept, [torch.zeros(shape, device=self._device) for shape in shapes])
        return self._between[batch]

    @contextlib.contextmanager
    def _on_device(self) -> Iterator[None]:
        """Let Triton launch on this step's device."""
        with torch.cuda.device(self._device) if self._device.type == "cuda" else contextlib.nullcontext():
            yield


@dataclass(frozen=True)
class _Notes:
    """What is noted of the steps of a call: see `Call`; and `losses` float32 [steps, K], their means."""

    loss: Tensor
    hit: Tensor
    rates: Tensor
    losses: Tensor

    @classmethod
    def of(cls, steps: int, count: int, batch: int, device: torch.device) -> _Notes:
        return cls(
            loss=torch.zeros((steps, count, batch), device=device),
            hit=torch.zeros((steps, count, batch), dtype=torch.int32, device=device),
            rates=torch.zeros((steps, 2), device=device),
            losses=torch.zeros((steps, count), device=device),
        )


def _rule(optimizer: Adam | SGD, values: Tensor, memory: dict[str, Tensor]) -> Rule:
    if optimizer.name == "adam":
        return Rule("adam", memory["exp_avg"], memory["exp_avg_sq"], optimizer.weight_decay, 0.0)
    if optimizer.momentum:
        return Rule("momentum", memory["momentum_buffer"], values, optimizer.weight_decay, optimizer.momentum)
    return Rule("sgd", values, values, optimizer.weight_decay, 0.0)


def _places_of(steps: int) -> int:
    return max(STEPS_AT_ONCE, 1 << (steps - 1).bit_length())
