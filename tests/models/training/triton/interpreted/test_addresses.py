"""In the interpreter every address is checked against the tensors that exist: what a GPU reports late, or never."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import triton.runtime.interpreter as interpreter
from torch import Tensor

from models.spec import SGD, Adam
from models.training.triton.plan import Card
from models.vocabulary import Activation
from tests.models.training.triton.interpreted.steps import (
    CARD,
    architecture_of,
    kernels_of,
    networks_of,
    training_images,
)


class Watched:
    """The tensors that kernels may touch, and every load and store that was none of theirs."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.outside: list[str] = []
        self.seen = 0

    def look(self, what: str, pointers: Any, mask: Any) -> None:
        size = pointers.get_element_ty().primitive_bitwidth // 8
        at = pointers.data[mask.data.astype(bool)].reshape(-1).astype(np.int64)
        self.seen += len(at)
        inside = np.zeros(len(at), bool)
        for tensor in self.tensors:
            start = tensor.data_ptr()
            inside |= (at >= start) & (at + size <= start + tensor.untyped_storage().nbytes())
        if not inside.all():
            self.outside.append(f"{what}: {np.count_nonzero(~inside)} of {len(at)} addresses")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watching, builder = Watched(), interpreter.InterpreterBuilder
    load, store = builder.create_masked_load, builder.create_masked_store

    def watched_load(self: Any, pointers: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        watching.look("load", pointers, mask)
        return load(self, pointers, mask, *rest, **named)

    def watched_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        watching.look("store", pointers, mask)
        return store(self, pointers, value, mask, *rest, **named)

    monkeypatch.setattr(builder, "create_masked_load", watched_load)
    monkeypatch.setattr(builder, "create_masked_store", watched_store)
    # The interpreter copies what it is given; these tensors are on the CPU and can stay where they are.
    monkeypatch.setattr(interpreter.GridExecutor, "_init_args_hst", lambda _self, args, named: (args, named))
    monkeypatch.setattr(interpreter.GridExecutor, "_restore_args_dev", lambda *_all: None)
    yield watching
    assert watching.seen > 1000


@pytest.mark.parametrize(
    ("hidden", "activation", "optimizer", "batch", "card"),
    [
        ((128, 64, 64), "relu", Adam(), 100, Card((9, 0), 132)),
        ((40, 24, 33, 20), "gelu", SGD(momentum=0.9), 7, CARD),
        ((33, 70), "tanh", SGD(), 150, Card((8, 0), 1)),
    ],
    ids=["whole", "odd", "loops"],
)
def test_no_kernel_touches_what_is_not_its_own(
    hidden: tuple[int, ...],
    activation: Activation,
    optimizer: Adam | SGD,
    batch: int,
    card: Card,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    architecture, count = architecture_of(hidden, activation), 2
    monkeypatch.setattr("models.training.triton.plan.PDL_FROM", (99, 0))  # the interpreter has one kernel at a time
    images, labels = training_images()
    step = kernels_of(networks_of(architecture, count), architecture, optimizer, batch, card=card)
    rows, rates = torch.full((count, batch), len(images) - 1), torch.tensor([0.1])
    notes, between = step._notes_of(1, batch), step._between_of(batch)
    watched.tensors = [images, labels, rows, rates, *step.changing, *between.h, *between.kept, *between.dz]
    watched.tensors += [notes.loss, notes.hit, notes.rates, notes.losses]
    step.run_steps(images, labels, rows, rates)
    assert watched.outside == []
    assert all(float(h.abs().sum()) > 0 for h in between.h)
