"""What only the compiled step does: several steps a call, members in turn, threads and a core for others."""

from __future__ import annotations

import platform
import threading
import time
from typing import get_args

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.network.architecture import Architecture
from models.spec import SGD, Adam
from models.training import kernel_step
from models.training import threads as team
from models.training.kernel_library import Variant
from models.training.step import Step
from models.training.threads import FREE_CORES, FreeCores, Team
from tests.models.training.engines import BATCH, ENGINES, network_of, on_device, step_of, taken


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_models_that_take_turns_in_the_kernel_get_the_bits_of_those_trained_alone(engine: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20))
    networks = [network_of(architecture, seed) for seed in range(2)]
    together = step_of(engine, networks, architecture, Adam())
    first = taken(together, few)[0]
    assert torch.equal(first, taken(step_of(engine, networks[:1], architecture, Adam()), few)[0])


@pytest.mark.skipif(FREE_CORES.count.value < 2, reason="needs two cores")
@pytest.mark.parametrize("engine", ENGINES[1:])
def test_the_kernel_leaves_a_core_to_work_that_asks_for_it(
    engine: str, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used_by_others(step: Step) -> float:
        """Return the processor time of the other threads over that of this one, while many steps are taken."""
        order = torch.arange(400).repeat(100).view(1, -1)
        process, own = time.process_time(), time.thread_time()
        step.run_steps(*on_device(few), order, [1e-3] * 400)
        own = time.thread_time() - own
        return (time.process_time() - process - own) / own

    monkeypatch.setattr(team, "STEPS_BETWEEN_TRIALS", 10**6)
    cores, before = FreeCores(2), torch.get_num_threads()
    monkeypatch.setattr(kernel_step, "FREE_CORES", cores)
    torch.set_num_threads(2)
    try:
        step = step_of(engine, [network_of(Architecture(hidden=(128,)), 0)], Architecture(hidden=(128,)), Adam())
        assert used_by_others(step) > 0.2
        cores.take()
        assert used_by_others(step) < 0.2
        cores.give_back()
        assert used_by_others(step) > 0.2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_how_long_steps_take_beside_other_work_decides_nothing(
    engine: str, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def noted(_self: Team, _seconds: float, steps: int = 1) -> None:
        told.append(steps)

    def sizes_of_steps(step: Step, count: int) -> tuple[int, int]:
        step.run_steps(*on_device(few), torch.arange(40 * count).view(1, -1), [1e-3] * count)
        return step.steps_at_once, len(told)

    monkeypatch.setattr(Team, "took", noted)
    monkeypatch.setattr(kernel_step, "FREE_CORES", cores := FreeCores(2))
    step = step_of(engine, [network_of(Architecture(hidden=(16,)), 0)], Architecture(hidden=(16,)), Adam())
    before, calls = sizes_of_steps(step, 3)
    assert calls == 1
    cores.take()
    monkeypatch.setattr(kernel_step, "SECONDS_AT_ONCE", 0.0)  # whoever measured now would go on step by step
    assert sizes_of_steps(step, 5)[1] == 1
    assert step.steps_at_once >= before
    cores.give_back()
    assert sizes_of_steps(step, 4) == (1, 2)
    assert told == [3, 4]


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
    weights = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            weights += taken(step_of(engine, [network_of(architecture, 5)], architecture, Adam()), few)
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
