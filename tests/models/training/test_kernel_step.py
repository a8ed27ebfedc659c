"""What only the compiled step does: several steps a call, members in turn, and threads."""

from __future__ import annotations

import ctypes
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from benchmarks.machines import wait_until
from models.data.mnist import DataSet
from models.network.architecture import Architecture
from models.spec import SGD, Adam
from models.training import kernel_step
from models.training.kernel_library import PACE_FIELDS, Variant
from models.training.kernel_step import KernelStep
from models.training.step import Step
from tests.models.training.engines import BATCH, ENGINES, network_of, on_device, step_of, taken


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_models_that_take_turns_in_the_kernel_get_the_bits_of_those_trained_alone(engine: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20))
    networks = [network_of(architecture, seed) for seed in range(2)]
    together = step_of(engine, networks, architecture, Adam())
    first = taken(together, few)[0]
    assert torch.equal(first, taken(step_of(engine, networks[:1], architecture, Adam()), few)[0])


LARGE = Architecture(hidden=(128,))


def pace_of(step: Step) -> ctypes.Array[ctypes.c_int64]:
    """Return the fields of `struct pace` of steps of 40 images; see `pace.h`."""
    assert isinstance(step, KernelStep)
    return (ctypes.c_int64 * PACE_FIELDS).from_address(step._structures[40][0].pace)


def take(step: Step, few: DataSet, count: int) -> None:
    step.run_steps(*on_device(few), torch.arange(400).repeat(count // 10).view(1, -1), [1e-3] * count)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.usefixtures("two_threads")
def test_a_team_that_loses_time_is_given_up_for_a_while(
    engine: str, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_step, "MIN_IMAGES_OF_A_THREAD", 20)
    step = step_of(engine, [network_of(LARGE, 0)], LARGE, Adam())
    take(step, few, 10)
    pace = pace_of(step)
    pace[:] = [3, 1, 0, 0, 0]  # nothing is quicker than one thread that takes a step in a nanosecond

    def paused_longer() -> bool:
        take(step, few, 100)
        return pace[3] >= 2 * 20_000_000

    wait_until(paused_longer, what="a second, longer pause of the team")
    assert pace[1] > 1
    assert pace[4] > 0


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.usefixtures("two_threads")
def test_helpers_work_unless_they_are_paused_and_end_with_the_call(
    engine: str, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_step, "MIN_IMAGES_OF_A_THREAD", 20)
    step = step_of(engine, [network_of(LARGE, 0)], LARGE, Adam())
    take(step, few, 10)
    pace = pace_of(step)

    def used_by_helpers() -> float:
        process, thread = time.process_time(), time.thread_time()
        take(step, few, 1000)
        return time.process_time() - process - (time.thread_time() - thread)

    pace[:] = [3, 2**60, 0, 0, 0]  # every step with a team saves time
    with_team = used_by_helpers()
    pace[:] = [3, 2**60, 0, 0, 2**62]
    assert used_by_helpers() < with_team / 2
    if (tasks := Path("/proc/self/task")).exists():
        before = len(list(tasks.iterdir()))
        pace[:] = [3, 2**60, 0, 0, 0]
        take(step, few, 100)
        assert len(list(tasks.iterdir())) == before


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_the_kernel_stops_after_the_step_whose_loss_is_not_finite(engine: str, few: DataSet) -> None:
    architecture, images, labels = Architecture(hidden=(20,), activation="identity"), *on_device(few)
    networks = [network_of(architecture, seed) for seed in range(2)]
    networks[0].layers[0].weight.mul_(1e18)  # grows beyond all bounds within a few steps
    for layer in networks[1].layers:
        layer.weight.zero_()  # only the last bias ever learns
    optimizer = SGD(lr=10.0)
    rates, orders = [10.0] * 6, torch.arange(6 * 50).expand(2, -1).contiguous()
    step = step_of(engine, networks, architecture, optimizer)
    losses = step.run_steps(images, labels, orders, rates)
    diverged_at = int((~losses[:, 0].isfinite()).nonzero()[0])
    assert 0 < diverged_at < 5
    assert losses[:, 1].isfinite().all()
    alone = step_of(engine, networks[:1], architecture, optimizer)
    for chosen in torch.split(orders[:1], 50, dim=1)[: diverged_at + 1]:
        alone.run_steps(images, labels, chosen, [10.0])
    torch.testing.assert_close(step.parameters.values[0], alone.parameters.values[0], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_a_masked_model_is_not_trained_further_by_the_kernel(engine: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(8,))
    networks = [network_of(architecture, seed) for seed in range(2)]
    step = step_of(engine, networks, architecture, Adam())
    step.masked.add(0)
    first, second = taken(step, few)
    assert torch.equal(first, networks[0].layers[0].weight)
    assert not torch.equal(second, networks[1].layers[0].weight)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_where_nobody_wants_any_model_the_kernel_trains_none(engine: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(8,))
    network = network_of(architecture, 0)
    step = step_of(engine, [network], architecture, Adam())
    step.masked.add(0)
    assert torch.equal(taken(step, few)[0], network.layers[0].weight)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_the_kernels_bits_do_not_depend_on_the_number_of_threads(engine: str, few: DataSet) -> None:
    architecture, before = Architecture(hidden=(300, 17)), torch.get_num_threads()
    order, weights = torch.arange(400).repeat(20).view(1, -1), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            step = step_of(engine, [network_of(architecture, 5)], architecture, Adam())
            step.run_steps(*on_device(few), order, [1e-3] * 100)
            weights.append(step.network(0).layers[0].weight)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("variant", get_args(Variant))
def test_a_kernel_takes_denormal_moments_for_zero_and_leaves_the_callers_mode_as_it_is(
    variant: Variant, few: DataSet
) -> None:
    architecture = Architecture(hidden=(20, 10))
    step = step_of(variant, [network_of(architecture, 0)], architecture, Adam())
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("only x86 needs it: elsewhere such numbers take no longer")
    images, labels = on_device(few)
    dark = int((images.sum(0) == 0).nonzero()[0])  # a pixel whose weights have no gradient
    state = step.optimizer_state(0)
    name = next(name for name in state if state[name].shape == (20, 784))
    moments = dict(state) | {name: np.full((20, 784), 1e-40, np.float32)}
    seen: list[bool] = []

    def take() -> None:  # in a thread of its own: this one's mode is not to change
        torch.set_flush_denormal(False)
        step.load_optimizer_state([moments])
        step.run(images, labels, torch.arange(BATCH).unsqueeze(0))
        seen.append(bool((torch.tensor([1e-39]) * torch.tensor([0.5]) > 0).all()))

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert seen == [True]
    assert not step.optimizer_state(0)[name][:, dark].any()
