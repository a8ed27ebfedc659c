"""Steps over batches of rows, in order; what a graph does instead is in `test_fake_cuda` and `test_gpu`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.pretrain.batch_loop import BatchLoop

CPU = torch.device("cpu")


def test_every_batch_has_a_step_in_its_order_and_a_smaller_last_one_too() -> None:
    seen: list[list[int]] = []
    done: list[int] = []
    loop = BatchLoop(lambda rows: seen.append(rows.tolist()), [], 2, CPU)
    loop.run(torch.tensor([4, 3, 2, 1, 0]), done.append)
    assert seen == [[4, 3], [2, 1], [0]]
    assert done == [1, 2, 3]


def test_what_is_raised_between_two_steps_passes_through() -> None:
    taken: list[Tensor] = []

    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        BatchLoop(taken.append, [], 1, CPU).run(torch.arange(5), stop)
    assert len(taken) == 2
