"""The hand-derived step against autograd and torch.optim, in float64."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from models.data import DataSet
from models.init import initialize
from models.init.base import Bias
from models.init.by_fans import XavierUniform
from models.mlp import Network
from models.spec import SGD, Activation, Adam, Architecture
from models.step import StackedStep

ACTIVATION_MODULES: dict[Activation, nn.Module] = {
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softsign": nn.Softsign(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "selu": nn.SELU(),
    "gelu": nn.GELU(approximate="tanh"),
    "identity": nn.Identity(),
}
BATCH = 20
CPU = torch.device("cpu")


def network_of(architecture: Architecture, seed: int, bias: Bias = "torch_default") -> Network:
    network = Network.empty(architecture)
    value = 0.1 if bias == "constant" else 0.0
    initialize(network, XavierUniform(bias=bias, bias_value=value), seed)
    return network


def reference(network: Network) -> nn.Sequential:
    """Return the same network as torch modules in float64."""
    modules: list[nn.Module] = []
    for layer in network.layers:
        linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0], dtype=torch.float64)
        linear.weight.data.copy_(layer.weight)
        linear.bias.data.copy_(layer.bias)
        modules += [linear, ACTIVATION_MODULES[network.activation]]
    return nn.Sequential(*modules[:-1])


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def on_device(few: DataSet) -> tuple[Tensor, Tensor]:
    images = torch.tensor(few.train.images.reshape(len(few.train.labels), 784))
    return images, torch.tensor(few.train.labels, dtype=torch.int64)


@pytest.mark.parametrize("bias", get_args(Bias))
@pytest.mark.parametrize("activation", get_args(Activation))
def test_gradients_are_those_of_autograd(activation: Activation, bias: Bias, few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20), activation=activation)
    network = network_of(architecture, 1, bias)
    step = StackedStep([network], architecture, Adam(), CPU, torch.float64)
    images, labels = on_device(few)
    chosen = torch.arange(BATCH).unsqueeze(0)
    step.backward(step.forward(images, labels, chosen))

    modules = reference(network)
    loss = nn.functional.cross_entropy(modules(images[:BATCH].double() / 255), labels[:BATCH])
    torch.autograd.backward(loss)
    assert float(step.losses[0]) == pytest.approx(loss.item(), rel=1e-12)
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    for own, linear in zip(step.gradients(0).layers, linears, strict=True):
        assert linear.weight.grad is not None
        assert linear.bias.grad is not None
        assert relative_error(own.weight, linear.weight.grad) < 1e-12
        assert relative_error(own.bias, linear.bias.grad) < 1e-12


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(),
        Adam(lr=0.01, weight_decay=0.1),
        SGD(),
        SGD(lr=0.05, momentum=0.9, weight_decay=0.01),
    ],
    ids=lambda optimizer: optimizer.model_dump_json(),
)
def test_twenty_steps_are_those_of_torch_optim(optimizer: Adam | SGD, few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20), activation="tanh")
    network = network_of(architecture, 2)
    step = StackedStep([network], architecture, optimizer, CPU, torch.float64)
    modules = reference(network)
    arguments = optimizer.model_dump(exclude={"name"})
    theirs = (torch.optim.Adam if isinstance(optimizer, Adam) else torch.optim.SGD)(modules.parameters(), **arguments)
    images, labels = on_device(few)
    for number in range(20):
        rows = torch.arange(number * BATCH, (number + 1) * BATCH) % len(labels)
        step.run(images, labels, rows.unsqueeze(0))
        theirs.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(modules(images[rows].double() / 255), labels[rows]))
        theirs.step()
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    for own, linear in zip(step.network(0).layers, linears, strict=True):
        # `network` gives float32, whose rounding is 6e-8
        assert relative_error(own.weight.double(), linear.weight.detach()) < 1e-7
        assert relative_error(own.bias.double(), linear.bias.detach()) < 1e-7


def test_a_hundred_float32_steps_stay_within_1e_5_of_float64(few: DataSet) -> None:
    architecture = Architecture(hidden=(64, 64))
    network = network_of(architecture, 3)
    steps = [StackedStep([network], architecture, Adam(), CPU, dtype) for dtype in (torch.float32, torch.float64)]
    images, labels = on_device(few)
    for number in range(100):
        rows = torch.arange(number * BATCH, (number + 1) * BATCH).unsqueeze(0) % len(labels)
        for step in steps:
            step.run(images, labels, rows)
    single, double = (step.network(0).layers[0].weight for step in steps)
    assert relative_error(single, double) < 1e-5


def test_models_side_by_side_are_those_trained_alone(few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20), activation="gelu")
    networks = [network_of(architecture, seed) for seed in range(3)]
    together = StackedStep(networks, architecture, Adam(), CPU, torch.float64)
    alone = [StackedStep([network], architecture, Adam(), CPU, torch.float64) for network in networks]
    images, labels = on_device(few)
    orders = torch.stack([torch.randperm(len(labels), generator=torch.Generator().manual_seed(n)) for n in range(3)])
    for chosen in torch.split(orders, BATCH, dim=1):
        together.run(images, labels, chosen)
        for index, step in enumerate(alone):
            step.run(images, labels, chosen[index : index + 1])
    for index, step in enumerate(alone):
        for own, other in zip(together.network(index).layers, step.network(0).layers, strict=True):
            assert relative_error(own.weight, other.weight) < 1e-6
    sums, hits = together.take_sums()
    assert sums == pytest.approx([step.take_sums()[0][0] for step in alone], rel=1e-9)
    assert all(0 < hit <= len(labels) for hit in hits)
    assert together.take_sums()[0] == [0.0, 0.0, 0.0]


def test_a_smaller_last_batch_has_buffers_of_its_own(few: DataSet) -> None:
    architecture = Architecture(hidden=(8,))
    step = StackedStep([network_of(architecture, 0)], architecture, SGD(), CPU)
    images, labels = on_device(few)
    step.run(images, labels, torch.arange(100).unsqueeze(0))
    step.run(images, labels, torch.arange(3).unsqueeze(0))
    assert 0 < float(step.losses[0]) < 10


def test_the_optimizer_goes_on_from_its_saved_state(few: DataSet) -> None:
    architecture = Architecture(hidden=(8,))
    images, labels = on_device(few)
    chosen = torch.arange(BATCH).unsqueeze(0)
    for optimizer in (Adam(), SGD(momentum=0.9), SGD()):
        step = StackedStep([network_of(architecture, 0)], architecture, optimizer, CPU)
        step.run(images, labels, chosen)
        resumed = StackedStep([step.network(0)], architecture, optimizer, CPU)
        resumed.load_optimizer_state([step.optimizer_state(0)])
        for one in (step, resumed):
            one.run(images, labels, chosen)
        assert torch.equal(step.network(0).layers[0].weight, resumed.network(0).layers[0].weight)
