"""What is launched for a network, and what is left to the step in torch."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from models.errors import EngineMissing
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import TrainSpec
from models.training.engine import best_engine, is_available, make_step, why_not_triton
from models.training.epoch_loops import _fewest_left_over
from models.training.triton.plan import Card, for_many, plan_of, unsupported

H100, SMALL = Card((9, 0), 132), Card((8, 6), 20)
SIZES = [(784, 256, 256, 10), (720, 512, 512, 512, 512, 10), (37, 1, 10), (784, 8192, 10), (784, *[100] * 64, 10)]


@pytest.mark.parametrize("card", [H100, SMALL], ids=str)
@pytest.mark.parametrize("batch", [1, 100, 129, 60_000])
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes) - 1} layers")
def test_tiles_cover_every_sum_and_are_small_enough_for_mma(sizes: tuple[int, ...], batch: int, card: Card) -> None:
    plan, layers = plan_of(sizes, batch, card), len(sizes) - 1
    assert len(plan.forward) + 1 + len(plan.backward) + 1 == 2 * layers - 1
    back = [product for product, _ in plan.backward]
    inner = [sizes[layer] for layer in range(layers - 1)] + [sizes[layer] for layer in range(layers - 1, 1, -1)]
    for tile, length in zip((*plan.forward, *back), inner, strict=True):
        assert not tile.whole or tile.split * tile.inner >= length
        assert tile.inner >= 16
        assert tile.split in (1, tile.warps)
        assert tile.rows <= 32
    assert not plan.head.whole or plan.head.split * plan.head.inner >= sizes[-2]
    for update in (*plan.last, *(update for _, update in plan.backward)):
        assert update.units <= 32
        assert not update.whole or batch <= update.images
    assert plan.pdl == (card.capability >= (9, 0))


def test_wider_layers_have_no_smaller_tiles() -> None:
    tiles = [plan_of((784, width, width, 10), 100, H100).forward[1] for width in (64, 256, 512, 1024, 4096)]
    assert all(small.columns <= large.columns for small, large in pairwise(tiles))


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{len(sizes) - 1} layers")
def test_many_networks_take_larger_tiles_that_add_up_in_the_same_order(sizes: tuple[int, ...]) -> None:
    plan = plan_of(sizes, 100, H100)
    many = for_many(plan)
    pairs = [*zip(plan.forward, many.forward, strict=True), (plan.head, many.head)]
    pairs += [(few[0], lot[0]) for few, lot in zip(plan.backward, many.backward, strict=True)]
    for few, lot in pairs:
        assert (few.inner, few.split) == (lot.inner, lot.split)
        assert few.columns <= lot.columns
        assert lot.rows <= 32
    updates = [(few[1], lot[1]) for few, lot in zip(plan.backward, many.backward, strict=True)]
    for few_inputs, lot_inputs in [*updates, *zip(plan.last, many.last, strict=True)]:
        assert (few_inputs.images, few_inputs.whole) == (lot_inputs.images, lot_inputs.whole)
        assert few_inputs.units <= lot_inputs.units


def test_what_the_kernels_cannot_is_said() -> None:
    assert unsupported((256,) * 64, "gelu", H100) is None
    assert "65 hidden layers" in str(unsupported((8,) * 65, "relu", H100))
    assert "compute capability 7.5" in str(unsupported((8,), "relu", Card((7, 5), 40)))
    assert "activation swish" in str(unsupported((8,), "swish", H100))


@pytest.mark.parametrize(("batches", "few"), [(600, 30), (468, 26), (47, 23), (29, 29)])
def test_graphs_leave_few_steps_to_the_host(batches: int, few: int) -> None:
    assert _fewest_left_over(batches) == few


def test_without_a_gpu_the_engine_is_not_there_and_says_why() -> None:
    spec, cpu = TrainSpec(architecture=Architecture(hidden=(8,))), torch.device("cpu")
    assert "CUDA" in str(why_not_triton(spec, cpu))
    assert not is_available("triton-step", cpu)
    assert best_engine(spec, cpu) != "triton-step"
    with pytest.raises(EngineMissing, match="runs on CUDA GPUs"):
        make_step("triton-step", [Network.empty(spec.architecture)], spec, cpu, torch.arange(784))


def test_other_code_than_the_kernels_imports_no_triton() -> None:
    modules = "models.training.engine, models.training.train, models.training.triton.availability"
    statements = ("import sys, torch", "there = set(sys.modules)", f"import {modules}")
    code = "; ".join((*statements, "sys.exit('triton' in set(sys.modules) - there)"))
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
