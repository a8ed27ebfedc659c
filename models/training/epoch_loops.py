"""Take the steps of one epoch: driven by the host (a CPU), or replayed by a device (a GPU).

On a GPU a few steps are captured in a CUDA graph. The host only copies the next rows and learning rates into the
graph's inputs, replays it, and copies the losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from models.native.cuda_graphs import captured, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.training.step import CapturableStep, Step

AfterSteps = Callable[[int, Tensor | None], None]
STEPS_PER_GRAPH = 20
STEPS_PER_GRAPH_OF_LAUNCHES = 30
"""For steps that gather no images beforehand. A replay with its copies costs about 10 us, such a step 20 us."""
MAX_GATHERED_BYTES = 128 * 2**20
"""Limit for the images of a graph's steps. With many models a graph has fewer steps, and does not need more."""
BYTES_OF_A_PIXEL = 5
"""One as it is gathered, uint8, and four as float32."""


class EpochLoop(Protocol):
    """One epoch: see the module's docstring."""

    def run(self, orders: Tensor, lrs: Sequence[float], after_steps: AfterSteps) -> Tensor:
        """Take all steps and return their losses [steps, K].

        `orders` int64 [K, images of an epoch], on the device, are the rows that each network sees, batch after batch;
        `lrs` the learning rate of each step. `after_steps(n, losses)` is called repeatedly, with the number n of steps
        that have been given to the device. `losses` are those of the last few steps, [few, K], on a CPU, and None where
        the host would have to wait for them. An error that it raises passes through.
        """


class HostLoop:
    """Steps that the host takes, a few in one call."""

    def __init__(self, step: Step, images: Tensor, labels: Tensor, batch: int) -> None:
        self._step, self._images, self._labels, self._batch = step, images, labels, batch

    def run(self, orders: Tensor, lrs: Sequence[float], after_steps: AfterSteps) -> Tensor:
        """Take all steps; see `EpochLoop.run`."""
        losses = torch.empty((len(lrs), self._step.count), dtype=self._step.losses.dtype)
        whole_batches = orders.shape[1] // self._batch
        done = 0
        while done < len(lrs):
            few = max(1, min(self._step.steps_at_once, whole_batches - done))
            chosen = orders[:, done * self._batch : (done + few) * self._batch]
            losses[done : done + few] = self._step.run_steps(self._images, self._labels, chosen, lrs[done : done + few])
            done += few
            after_steps(done, losses[done - few : done])
        return losses


class _Captured(NamedTuple):
    """A graph of a few steps; it reads `chosen` [K, few * B] and `lrs` [few], and writes `losses` [few, K]."""

    graph: torch.cuda.CUDAGraph
    chosen: Tensor
    lrs: Tensor
    losses: Tensor

    def replayed(self, chosen: Tensor, lrs: Tensor) -> Tensor:
        """Replay the graph for the steps of `Step.run_steps`; return their losses, valid until the next replay."""
        self.chosen.copy_(chosen)
        self.lrs.copy_(lrs)
        self.graph.replay()
        return self.losses


class DeviceLoop:
    """Steps that a device takes by itself: captured in a CUDA graph on a GPU, uncaptured on a CPU (for tests)."""

    def __init__(self, step: CapturableStep, images: Tensor, labels: Tensor, batch: int, images_per_epoch: int) -> None:
        self._step, self._images, self._labels, self._batch = step, images, labels, batch
        self._device = images.device
        self._whole_batches = images_per_epoch // batch
        if step.gathers_images:
            bytes_of_step = step.count * batch * images.shape[1] * BYTES_OF_A_PIXEL
            self._few = max(1, min(STEPS_PER_GRAPH, MAX_GATHERED_BYTES // bytes_of_step))
        else:
            self._few = _fewest_left_over(self._whole_batches)
        worth_it = self._device.type == "cuda" and self._whole_batches >= self._few
        self._captured = self._capture() if worth_it else None

    def run(self, orders: Tensor, lrs: Sequence[float], after_steps: AfterSteps) -> Tensor:
        """Take all steps; see `EpochLoop.run`. Waits until the device has taken all but those of the last replay."""
        rates = torch.tensor(lrs).to(self._device)
        losses = torch.zeros((len(lrs), self._step.count), device=self._device)
        done, before = 0, None
        while done < len(lrs):
            graph = self._captured if done + self._few <= self._whole_batches else None
            few = 1 if graph is None else self._few
            chosen, of_few = orders[:, done * self._batch : (done + few) * self._batch], slice(done, done + few)
            if graph is None:
                losses[of_few] = self._step.run_steps(self._images, self._labels, chosen, rates[of_few])
            else:
                losses[of_few] = graph.replayed(chosen, rates[of_few])
                before = wait_for(before)
            done += few
            after_steps(done, None)
        return losses

    def _capture(self) -> _Captured:
        chosen = torch.zeros((self._step.count, self._few * self._batch), dtype=torch.int64, device=self._device)
        lrs, losses = torch.zeros(self._few, device=self._device), []

        def run() -> None:
            losses.append(self._step.run_steps(self._images, self._labels, chosen, lrs))

        graph = captured(run, self._step.changing, self._device)
        return _Captured(graph, chosen, lrs, losses[-1])


def _fewest_left_over(batches: int) -> int:
    """Return the number of steps of a graph that leaves the fewest batches of an epoch to the host."""
    most = STEPS_PER_GRAPH_OF_LAUNCHES
    return max(range(most // 2, most + 1), key=lambda few: (-(batches % few), few))
