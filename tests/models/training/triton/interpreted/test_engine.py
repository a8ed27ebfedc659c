"""What every engine promises, by the kernels: bits, sums, states, and networks that nobody wants any more."""

from __future__ import annotations

import pytest
import torch

from models.spec import SGD, Adam
from models.training.step import Step
from models.training.torch_step import StackedStep
from models.training.triton.step import TritonStep
from models.vocabulary import Activation
from tests.models.training.triton.interpreted.steps import (
    architecture_of,
    distance,
    kernels_of,
    networks_of,
    rows_of,
    torch_of,
    training_images,
    whole,
)


@pytest.mark.parametrize(("hidden", "activation"), [((20,), "relu"), ((17, 20, 33), "gelu")], ids=str)
def test_a_network_has_the_same_bits_whatever_its_neighbours_are(
    hidden: tuple[int, ...], activation: Activation
) -> None:
    architecture, (images, labels) = architecture_of(hidden, activation), training_images()
    networks, rows = networks_of(architecture, 3), rows_of(3, 40)
    together = kernels_of(networks, architecture, Adam(), 20)
    losses = together.run_steps(images, labels, rows, [0.01] * 2)
    for index in (0, 2):
        alone = kernels_of([networks[index]], architecture, Adam(), 20)
        assert torch.equal(alone.run_steps(images, labels, rows[index : index + 1], [0.01] * 2)[:, 0], losses[:, index])
        assert torch.equal(alone.parameters.values[0], together.parameters.values[index])
        for name, flat in alone.memory.items():
            assert torch.equal(flat[0], together.memory[name][index])


def test_a_network_that_diverges_or_is_dropped_leaves_the_others() -> None:
    architecture, (images, labels) = architecture_of((20,)), training_images()
    networks, rows = networks_of(architecture, 2), rows_of(2, 40)
    alone = kernels_of(networks[1:], architecture, SGD(), 20)
    alone.run_steps(images, labels, rows[1:], [0.1, 0.1])
    networks[0].layers[0].weight.fill_(float("nan"))
    together = kernels_of(networks, architecture, SGD(), 20)
    together.masked.add(0)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        losses = together.run_steps(images, labels, rows, [0.1, 0.1])
    assert not losses[:, 0].isfinite().any()
    assert losses[:, 1].isfinite().all()
    assert torch.equal(alone.parameters.values[0], together.parameters.values[1])


@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9)], ids=lambda optimizer: str(optimizer.name))
def test_steps_that_are_taken_at_once_are_those_taken_one_by_one(optimizer: Adam | SGD) -> None:
    architecture, (images, labels) = architecture_of((20,)), training_images()
    networks, rows = networks_of(architecture, 2), rows_of(2, 60)
    rates = [1e-3 * (1 - step / 6) for step in range(3)]
    at_once, one_by_one = (kernels_of(networks, architecture, optimizer, 20) for _ in range(2))
    losses = at_once.run_steps(images, labels, rows, torch.tensor(rates))
    singly = [
        one_by_one.run_steps(images, labels, chosen, [rate]).clone()
        for chosen, rate in zip(torch.split(rows, 20, dim=1), rates, strict=True)
    ]
    assert torch.equal(losses, torch.cat(singly))
    assert torch.equal(at_once.losses, losses[-1])
    assert torch.equal(at_once.parameters.values, one_by_one.parameters.values)
    assert at_once.take_sums() == one_by_one.take_sums()
    assert at_once.take_sums() == ([0.0, 0.0], [0, 0])
    assert (at_once.steps, at_once.lr) == (one_by_one.steps, one_by_one.lr)


@pytest.mark.parametrize(
    "optimizer", [Adam(), SGD(momentum=0.9), SGD()], ids=lambda optimizer: optimizer.model_dump_json()
)
@pytest.mark.parametrize("first", ["kernels", "torch"])
def test_one_engine_goes_on_from_the_others_state(optimizer: Adam | SGD, first: str) -> None:
    architecture, (images, labels) = architecture_of((20, 17)), training_images()
    networks, rows = networks_of(architecture, 2), rows_of(2, 80)

    def made(kind: str) -> TritonStep | StackedStep:
        if kind == "kernels":
            return kernels_of(networks, architecture, optimizer, 20)
        return torch_of(networks, architecture, optimizer, torch.float32)

    before, after, through = made(first), made("torch" if first == "kernels" else "kernels"), made("torch")
    before.run_steps(images, labels, rows[:, :40], [0.01, 0.01])
    for index in range(2):
        after.parameters.load_named(after.parameters.values, index, before.network(index).to_weights())
    after.load_optimizer_state([before.optimizer_state(index) for index in range(2)])
    after.run_steps(images, labels, rows[:, 40:], [0.01, 0.01])
    through.run_steps(images, labels, rows, [0.01] * 4)
    for index in range(2):
        assert distance(whole(after, index), whole(through, index)) < 1e-6
    assert after.steps == through.steps


def test_gradients_of_a_batch_are_those_of_torch_and_change_nothing() -> None:
    architecture, (images, labels) = architecture_of((20, 17), "gelu"), training_images()
    networks, rows = networks_of(architecture, 2), rows_of(2, 20)
    steps: list[Step] = [kernels_of(networks, architecture, Adam(), 20), torch_of(networks, architecture, Adam())]
    before = steps[0].parameters.values.clone()
    ours, exact = (
        [whole(step, index, step.gradients_of(images, labels, rows)) for index in range(2)] for step in steps
    )
    for gradient, right in zip(ours, exact, strict=True):
        assert distance(gradient, right) < 1e-6
    torch.testing.assert_close(steps[0].losses.double(), steps[1].losses, rtol=1e-6, atol=0)
    assert torch.equal(steps[0].parameters.values, before)
    assert steps[0].take_sums() == ([0.0, 0.0], [0, 0])


def test_every_tensor_that_a_step_changes_is_told() -> None:
    architecture, (images, labels) = architecture_of((20,)), training_images()
    step = kernels_of(networks_of(architecture, 2), architecture, Adam(), 20)
    before = [tensor.clone() for tensor in step.changing]
    losses = step.run_steps(images, labels, rows_of(2, 40), [0.1, 0.2]).clone()
    for tensor, old in zip(step.changing, before, strict=True):
        assert not torch.equal(tensor, old)
        tensor.copy_(old)
    assert torch.equal(step.run_steps(images, labels, rows_of(2, 40), [0.1, 0.2]), losses)
