"""The steps of one epoch, one after another: driven by the host (a CPU), or left to a device (a GPU).

On a GPU the host would need ten to twenty times as long to launch a step's kernels as the GPU to run them. So whatever
changes from step to step is a tensor there (a cursor into the order of images, the learning rates, the losses), the
step is captured in a CUDA graph, and the host only replays it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.step import StackedStep, Step

AfterSteps = Callable[[int, Tensor | None], None]
STEPS_PER_GRAPH = 20
WARM_UP_STEPS = 3


class EpochLoop(Protocol):
    """One epoch: see the module's docstring."""

    def run(self, orders: Tensor, lrs: Sequence[float], after_steps: AfterSteps) -> Tensor:
        """Take all steps and return their losses [steps, K].

        `orders` int64 [K, images of an epoch], on the device, are the rows that each network sees, batch after batch;
        `lrs` the learning rate of each step. `after_steps(n, losses)` is called when n steps have been given to the
        device, again and again; with the losses [few, K] of the last few on a CPU, with None where it would have to
        wait for them. What it raises passes through.
        """


class HostLoop:
    """Steps that the host takes, a few at once."""

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


class DeviceLoop:
    """Steps that a device takes by itself; captured in a CUDA graph on a GPU, and as they are on a CPU (for tests)."""

    def __init__(self, step: StackedStep, images: Tensor, labels: Tensor, batch: int, images_per_epoch: int) -> None:
        self._step, self._images, self._labels, self._batch = step, images, labels, batch
        device = images.device
        steps = -(-images_per_epoch // batch)
        self._whole_batches = images_per_epoch // batch
        self._orders = torch.zeros((step.count, images_per_epoch), dtype=torch.int64, device=device)
        self._lrs = torch.zeros(steps, device=device)
        self._losses = torch.zeros((steps, step.count), device=device)
        self._cursor = torch.zeros(1, dtype=torch.int64, device=device)
        whole = self._orders[:, : self._whole_batches * batch]
        self._batches = whole.view(step.count, self._whole_batches, batch)
        worth_it = device.type == "cuda" and self._whole_batches >= STEPS_PER_GRAPH
        self._graph = self._captured() if worth_it else None

    def run(self, orders: Tensor, lrs: Sequence[float], after_steps: AfterSteps) -> Tensor:
        """Take all steps; see `EpochLoop.run`. Waits until the device has taken all but those of the last replay."""
        self._orders.copy_(orders)
        self._lrs.copy_(torch.tensor(lrs))
        self._cursor.zero_()
        done, before = 0, None
        while done < self._whole_batches:
            if self._graph is not None and done + STEPS_PER_GRAPH <= self._whole_batches:
                self._graph.replay()
                done += STEPS_PER_GRAPH
                before = _wait_for(before)
            else:
                self._advance()
                done += 1
            after_steps(done, None)
        if done < len(lrs):
            self._step.lr = lrs[done]
            self._step.run(self._images, self._labels, self._orders[:, done * self._batch :])
            self._losses[done] = self._step.losses
            after_steps(done + 1, None)
        return self._losses

    def _advance(self) -> None:
        """Take the step that the cursor points at, and move the cursor; reads nothing back."""
        chosen = self._batches.index_select(1, self._cursor).squeeze(1)
        torch.index_select(self._lrs, 0, self._cursor, out=self._step.lr_tensor.view(1))
        self._step.run(self._images, self._labels, chosen)
        self._losses.index_copy_(0, self._cursor, self._step.losses.view(1, -1))
        self._cursor.add_(1)

    def _captured(self) -> torch.cuda.CUDAGraph:
        """Return the graph of a few steps. Steps that warm up move the training, so what they changed is put back."""
        changing = [*self._step.changing, self._losses, self._cursor]
        before = [tensor.clone() for tensor in changing]
        aside = _aside(self._cursor.device)
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_STEPS):
                self._advance()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        self._cursor.zero_()
        with torch.cuda.graph(graph, stream=aside):
            for _ in range(STEPS_PER_GRAPH):
                self._advance()
        for tensor, old in zip(changing, before, strict=True):
            tensor.copy_(old)
        return graph


@cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """Return the stream that graphs are warmed up and captured on: one, for cuBLAS keeps 32 MiB of each it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _wait_for(before: torch.cuda.Event | None) -> torch.cuda.Event:
    """Wait until the replay before the last one is done: the host stays one ahead, and no more."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    if before is not None:
        before.synchronize()
    return event
