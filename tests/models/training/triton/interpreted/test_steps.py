"""Steps by the kernels against the same steps by torch, in float64 and in float32."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from models.spec import SGD, Adam
from models.training.triton.plan import Card, UpdateTile, for_many, plan_of
from models.vocabulary import Activation, Precision
from tests.models.training.triton.interpreted.steps import (
    CARD,
    PIXELS,
    architecture_of,
    distance,
    kernels_of,
    networks_of,
    rows_of,
    torch_of,
    training_images,
    whole,
)

SMALL_CARD = Card((8, 0), 1)
"""One on which any product has so many tiles that it takes the larger ones."""
MIN_ERROR = 2e-7


def assert_as_near_as_torch(
    hidden: tuple[int, ...],
    optimizer: Adam | SGD,
    *,
    activation: Activation = "relu",
    batch: int = 20,
    count: int = 1,
    steps: int = 3,
    card: Card = CARD,
    pixels: Tensor = PIXELS,
) -> None:
    """Parameters and memory are at most twice as far from float64's as those of torch in float32."""
    architecture = architecture_of(hidden, activation)
    networks, (images, labels) = networks_of(architecture, count), training_images(len(pixels))
    ours = kernels_of(networks, architecture, optimizer, batch, card=card, pixels=pixels)
    exact = torch_of(networks, architecture, optimizer, pixels=pixels)
    single = torch_of(networks, architecture, optimizer, torch.float32, pixels)
    start = [whole(exact, index) for index in range(count)]
    rows, rates = rows_of(count, steps * batch), [optimizer.lr * (1 - step / 10) for step in range(steps)]
    losses, expected, _ = (step.run_steps(images, labels, rows, rates) for step in (ours, exact, single))
    torch.testing.assert_close(losses.double(), expected, rtol=1e-6, atol=1e-7)
    for index in range(count):
        best = distance(whole(single, index), whole(exact, index), start[index])
        assert distance(whole(ours, index), whole(exact, index), start[index]) <= 2 * best + MIN_ERROR
        for name, flat in exact.memory.items():
            best = distance(whole(single, index, single.memory[name]), whole(exact, index, flat))
            assert distance(whole(ours, index, ours.memory[name]), whole(exact, index, flat)) <= 2 * best + MIN_ERROR
    assert ours.steps == exact.steps
    assert ours.lr == pytest.approx(rates[-1])
    (our_sums, our_hits), (sums, hits) = ours.take_sums(), exact.take_sums()
    assert our_sums == pytest.approx(sums, rel=1e-6)
    assert our_hits == hits


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation(activation: Activation) -> None:
    assert_as_near_as_torch((20, 17), SGD(lr=0.3), activation=activation)


OPTIMIZERS = [
    Adam(lr=0.01),
    Adam(lr=0.01, weight_decay=0.1),
    SGD(),
    SGD(lr=0.05, weight_decay=0.1),
    SGD(lr=0.05, momentum=0.9, weight_decay=0.01),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.model_dump_json())
def test_every_optimizer(optimizer: Adam | SGD) -> None:
    assert_as_near_as_torch((20,), optimizer, activation="tanh", steps=2)


@pytest.mark.parametrize(("hidden", "batch"), [((1,), 1), ((17, 3), 7), ((16, 100), 1), ((40, 24, 33, 20), 7)], ids=str)
def test_every_width_and_depth(hidden: tuple[int, ...], batch: int) -> None:
    assert_as_near_as_torch(hidden, SGD(lr=0.3, momentum=0.9), activation="softsign", batch=batch, steps=2)


@pytest.mark.parametrize(("hidden", "batch"), [((20,), 150), ((33, 70, 20), 20), ((17, 20, 33), 150)], ids=str)
def test_larger_tiles_with_sums_in_loops(hidden: tuple[int, ...], batch: int) -> None:
    assert_as_near_as_torch(hidden, SGD(lr=0.3), activation="gelu", batch=batch, card=SMALL_CARD, steps=1)


def test_inner_sums_that_are_too_long_for_one_read() -> None:
    assert_as_near_as_torch((1030, 3), SGD(lr=0.3), batch=7, steps=1)
    assert_as_near_as_torch((3, 1030), SGD(lr=0.3), batch=7, steps=1)


@pytest.mark.parametrize("state", [0, 1, 2])
def test_larger_tiles_for_many_networks_and_state_read_late(state: int) -> None:
    architecture, (images, labels) = architecture_of((33, 70, 20)), training_images()
    plan = for_many(plan_of((len(PIXELS), 33, 70, 20, 10), 20, CARD))
    assert [tile.serial for tile in plan.forward] == [True, True, True]
    update = UpdateTile(32, 16, 32, whole=True, state=state)
    plan = replace(plan, backward=tuple((tile, update) for tile, _ in plan.backward), last=(update, update))
    networks = networks_of(architecture, 1)
    ours = kernels_of(networks, architecture, SGD(), 20, plan=plan)
    exact = torch_of(networks, architecture, SGD())
    for step in (ours, exact):
        step.run_steps(images, labels, rows_of(1, 20), [0.3])
    assert distance(whole(ours, 0), whole(exact, 0)) < 1e-6


def test_any_number_of_pixels_and_rows_that_lie_apart() -> None:
    assert_as_near_as_torch((20,), Adam(lr=0.01), pixels=torch.arange(5, 42))
    architecture, (images, labels) = architecture_of((20,)), training_images()
    apart = torch.zeros((len(images), 60), dtype=torch.uint8)
    apart[:, : images.shape[1]] = images
    steps = [kernels_of(networks_of(architecture, 1), architecture, Adam(), 20) for _ in range(2)]
    for step, values in zip(steps, (images, apart[:, : images.shape[1]]), strict=True):
        step.run_steps(values, labels, rows_of(1, 40), [0.1, 0.1])
    assert torch.equal(steps[0].parameters.values, steps[1].parameters.values)


def test_a_smaller_last_batch() -> None:
    architecture, (images, labels) = architecture_of((20, 17)), training_images()
    networks = networks_of(architecture, 2)
    ours, exact = kernels_of(networks, architecture, Adam(), 20), torch_of(networks, architecture, Adam())
    rows = rows_of(2, 43)
    for step in (ours, exact):
        step.run_steps(images, labels, rows[:, :40], [0.01, 0.02])
        step.run_steps(images, labels, rows[:, 40:], [0.03])
    for index in range(2):
        assert distance(whole(ours, index), whole(exact, index)) < 1e-6
    assert ours.take_sums()[1] == exact.take_sums()[1]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precision_is_near(precision: Precision) -> None:
    architecture, (images, labels) = architecture_of((20, 17)), training_images()
    networks = networks_of(architecture, 1)
    ours = kernels_of(networks, architecture, SGD(), 20, precision=precision)
    exact = torch_of(networks, architecture, SGD())
    start = whole(exact, 0)
    for step in (ours, exact):
        step.run_steps(images, labels, rows_of(1, 60), [0.1] * 3)
    # bfloat16 has 8 bits: 2^-9 relatively in each factor. The interpreter rounds nothing to tf32.
    assert distance(whole(ours, 0), whole(exact, 0), start) < 2e-2


def test_a_thousand_steps_further_on_adam_corrects_as_torch_does() -> None:
    architecture, (images, labels) = architecture_of((20,)), training_images()
    networks = networks_of(architecture, 1)
    steps = kernels_of(networks, architecture, Adam(), 20), torch_of(networks, architecture, Adam(), torch.float32)
    for step in steps:
        step.steps = 1000
        step.run_steps(images, labels, rows_of(1, 20), [0.01])
    assert distance(*(whole(step, 0) for step in steps)) < 1e-6
    assert steps[0].steps == 1001
