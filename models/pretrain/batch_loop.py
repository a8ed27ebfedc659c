"""Take steps over batches of rows: one by one on a CPU; on a GPU a few at a time, captured in a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.native.cuda_graphs import captured, wait_for

STEPS_PER_GRAPH = 30


class _Graph(NamedTuple):
    """A graph of `STEPS_PER_GRAPH` steps on the rows in `chosen`, int64 [STEPS_PER_GRAPH batch]."""

    graph: torch.cuda.CUDAGraph
    chosen: Tensor


class BatchLoop:
    """A step that is taken on one batch after another.

    `step(rows)` works on the rows int64 [batch] of its data. It changes the tensors `changing` in place, draws from
    `generators`, and leaves nothing else for a later step; all are on `device`.
    """

    def __init__(
        self,
        step: Callable[[Tensor], None],
        changing: Sequence[Tensor],
        batch: int,
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self._step, self._changing, self._batch = step, changing, batch
        self._device, self._generators = device, generators
        self._graph: _Graph | None = None

    def run(self, order: Tensor, after_steps: Callable[[int], None] | None = None) -> None:
        """Take a step for each batch of `order`, int64 [n] on the device, a smaller last one included.

        `after_steps` is called with the number of steps that have been given to the device, again and again; what it
        raises passes through.
        """
        few = STEPS_PER_GRAPH * self._batch
        place, steps, before = 0, 0, None
        while place < len(order):
            if self._device.type == "cuda" and place + few <= len(order):
                self._replay(order[place : place + few])
                before = wait_for(before)
                place, steps = place + few, steps + STEPS_PER_GRAPH
            else:
                self._step(order[place : place + self._batch])
                place, steps = place + self._batch, steps + 1
            if after_steps is not None:
                after_steps(steps)

    def _replay(self, rows: Tensor) -> None:
        if self._graph is None:
            chosen = rows.clone()

            def take_all() -> None:
                for of_step in torch.split(chosen, self._batch):
                    self._step(of_step)

            self._graph = _Graph(captured(take_all, self._changing, self._device, self._generators), chosen)
        self._graph.chosen.copy_(rows)
        self._graph.graph.replay()
