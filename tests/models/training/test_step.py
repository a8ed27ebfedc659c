"""The hand-derived step, by each engine, against autograd and torch.optim in float64."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.data.mnist import DataSet
from models.errors import CheckpointDamaged
from models.init.base import Bias
from models.native import KERNEL_ACTIVATIONS
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, Adam
from models.training.kernel_library import kernel
from models.training.kernel_step import KernelStep
from models.training.step import Step
from models.training.torch_step import StackedStep, TorchOptions
from models.vocabulary import Activation
from tests.models.training.engines import BATCH, CPU, ENGINES, network_of, on_device, step_of, taken


class Standardized(nn.Module):
    """As torchvision's examples normalize MNIST."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.1307) / 0.3081


class ScaledTanh(nn.Module):
    """As LeCun et al. 1998 write it."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(2 / 3 * z)


ACTIVATION_MODULES: dict[Activation, nn.Module] = {
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "scaled_tanh": ScaledTanh(),
    "sigmoid": nn.Sigmoid(),
    "softsign": nn.Softsign(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "selu": nn.SELU(),
    "gelu": nn.GELU(approximate="tanh"),
    "identity": nn.Identity(),
}


def reference(network: Network) -> nn.Sequential:
    """Return the same network as torch modules in float64."""
    modules: list[nn.Module] = [Standardized()] if network.inputs == "standardized" else []
    for layer in network.layers:
        linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0], dtype=torch.float64)
        linear.weight.data.copy_(layer.weight)
        linear.bias.data.copy_(layer.bias)
        modules += [linear, ACTIVATION_MODULES[network.activation]]
    return nn.Sequential(*modules[:-1])


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("bias", ["zeros", "torch_default", "constant"])
@pytest.mark.parametrize(
    ("engine", "activation"),
    [
        (engine, activation)
        for engine in ENGINES
        for activation in get_args(Activation)
        if engine == "stacked" or activation in KERNEL_ACTIVATIONS
    ],
)
def test_gradients_are_those_of_autograd(engine: str, activation: Activation, bias: Bias, few: DataSet) -> None:
    gradients_are_those_of_autograd(engine, Architecture(hidden=(30, 20), activation=activation), bias, few)


@pytest.mark.parametrize("activation", ["relu", "scaled_tanh"])
def test_gradients_on_standardized_inputs_are_those_of_autograd(activation: Activation, few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20), activation=activation, inputs="standardized")
    gradients_are_those_of_autograd("stacked", architecture, "torch_default", few)


def gradients_are_those_of_autograd(engine: str, architecture: Architecture, bias: Bias, few: DataSet) -> None:
    network = network_of(architecture, 1, bias)
    step = step_of(engine, [network], architecture, Adam(), torch.float64)
    images, labels = on_device(few)
    flat = step.gradients_of(images, labels, torch.arange(BATCH).unsqueeze(0))
    found = step.parameters.named(flat, 0, torch.float64)

    modules = reference(network)
    loss = nn.functional.cross_entropy(modules(images[:BATCH].double() / 255), labels[:BATCH])
    torch.autograd.backward(loss)
    assert float(step.losses[0]) == pytest.approx(loss.item(), rel=1e-12)
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    for index, linear in enumerate(linears):
        assert linear.weight.grad is not None
        assert linear.bias.grad is not None
        assert relative_error(found[f"layers.{index}.weight"], linear.weight.grad) < 1e-12
        assert relative_error(found[f"layers.{index}.bias"], linear.bias.grad) < 1e-12
    assert torch.equal(step.network(0).layers[0].weight, network.layers[0].weight)


OPTIMIZERS = pytest.mark.parametrize(
    "optimizer",
    [Adam(), Adam(lr=0.01, weight_decay=0.1), SGD(), SGD(lr=0.05, momentum=0.9, weight_decay=0.01)],
    ids=lambda optimizer: optimizer.model_dump_json(),
)


@pytest.mark.parametrize("engine", ENGINES)
@OPTIMIZERS
def test_twenty_steps_are_those_of_torch_optim(engine: str, optimizer: Adam | SGD, few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20), activation="softsign")
    network = network_of(architecture, 2)
    step = step_of(engine, [network], architecture, optimizer, torch.float64)
    modules = trained_by_torch(network, optimizer, few, 20, step)
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    for own, linear in zip(step.network(0).layers, linears, strict=True):
        # `network` gives float32, whose rounding is 6e-8
        assert relative_error(own.weight.double(), linear.weight.detach()) < 1e-7
        assert relative_error(own.bias.double(), linear.bias.detach()) < 1e-7


def trained_by_torch(network: Network, optimizer: Adam | SGD, few: DataSet, steps: int, *beside: Step) -> nn.Sequential:
    """Train a copy by autograd and torch.optim in float64, and let others take the same steps."""
    modules = reference(network)
    arguments = optimizer.model_dump(exclude={"name"})
    theirs = (torch.optim.Adam if isinstance(optimizer, Adam) else torch.optim.SGD)(modules.parameters(), **arguments)
    images, labels = on_device(few)
    for number in range(steps):
        rows = torch.arange(number * BATCH, (number + 1) * BATCH) % len(labels)
        for step in beside:
            step.run(images, labels, rows.unsqueeze(0))
        theirs.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(modules(images[rows].double() / 255), labels[rows]))
        theirs.step()
    return modules


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hundred_float32_steps_stay_within_1e_5_of_autograd_in_float64(engine: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(64, 64))
    network = network_of(architecture, 3)
    step = step_of(engine, [network], architecture, Adam())
    modules = trained_by_torch(network, Adam(), few, 100, step)
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    for own, linear in zip(step.network(0).layers, linears, strict=True):
        assert relative_error(own.weight.double(), linear.weight.detach()) < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("hidden", [(1,), (17, 3), (16, 100), (300,)], ids=str)
@pytest.mark.parametrize("batch", [1, 7])
def test_any_width_and_batch_is_trained(engine: str, hidden: tuple[int, ...], batch: int, few: DataSet) -> None:
    architecture = Architecture(hidden=hidden)
    network = network_of(architecture, 4)
    step = step_of(engine, [network], architecture, Adam(), torch.float64)
    other = StackedStep([network], architecture, Adam(), CPU, options=TorchOptions(torch.float64))
    images, labels = on_device(few)
    for one in (step, other):
        for chosen in torch.split(torch.arange(5 * batch).unsqueeze(0), batch, dim=1):
            one.run(images, labels, chosen)
    for own, theirs in zip(step.network(0).layers, other.network(0).layers, strict=True):
        torch.testing.assert_close(own.weight, theirs.weight, rtol=1e-6, atol=1e-9)
    (loss_sum,), (hits,) = step.take_sums()
    (their_loss_sum,), (their_hits,) = other.take_sums()
    assert loss_sum == pytest.approx(their_loss_sum, rel=1e-9)
    assert hits == their_hits


def test_models_side_by_side_are_those_trained_alone(few: DataSet) -> None:
    architecture = Architecture(hidden=(30, 20), activation="gelu")
    networks = [network_of(architecture, seed) for seed in range(3)]
    together = StackedStep(networks, architecture, Adam(), CPU, options=TorchOptions(torch.float64))
    options = TorchOptions(torch.float64)
    alone = [StackedStep([network], architecture, Adam(), CPU, options=options) for network in networks]
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


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9)], ids=lambda one: str(one.name))
def test_steps_that_are_taken_at_once_are_those_taken_one_by_one(
    engine: str, optimizer: Adam | SGD, few: DataSet
) -> None:
    architecture, images, labels = Architecture(hidden=(20,)), *on_device(few)
    networks = [network_of(architecture, seed) for seed in range(2)]
    orders = torch.stack([torch.randperm(6 * 50, generator=torch.Generator().manual_seed(n)) for n in range(2)])
    rates = [1e-3 * (1 - step / 6) for step in range(6)]
    at_once, one_by_one = (step_of(engine, networks, architecture, optimizer) for _ in range(2))
    losses = at_once.run_steps(images, labels, orders, rates)
    singly = [
        one_by_one.run_steps(images, labels, chosen, [rate])
        for chosen, rate in zip(torch.split(orders, 50, dim=1), rates, strict=True)
    ]
    assert torch.equal(losses, torch.cat(singly))
    assert torch.equal(at_once.losses, losses[-1])
    assert torch.equal(at_once.parameters.values, one_by_one.parameters.values)
    assert at_once.take_sums() == one_by_one.take_sums()
    assert (at_once.steps, at_once.lr) == (one_by_one.steps, rates[-1])


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that compute something, each of which a GPU has to launch."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {one.untyped_storage().data_ptr() for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        is_view = func.is_view or func.overloadpacket is torch.ops.aten.reshape
        self.count += func.namespace == "aten" and not is_view and bool(given)
        return found


@pytest.mark.parametrize(("hidden", "most"), [((256, 256), 19), ((512,) * 4, 31)])
def test_a_step_on_a_gpu_launches_few_operators(hidden: tuple[int, ...], most: int, few: DataSet) -> None:
    architecture, images, labels = Architecture(hidden=hidden), *on_device(few)
    step = StackedStep([network_of(architecture, 0)], architecture, Adam(), CPU, options=TorchOptions(for_gpu=True))

    def operators_of(steps: int) -> int:
        with Counted() as counted:
            step.run_steps(images, labels, torch.arange(10 * steps).view(1, -1), torch.full((steps,), 1e-3))
        return int(counted.count)

    operators_of(1), operators_of(11)  # what is allocated once is there from now on
    # Of each layer: product, weight's and bias's gradient; between two also activation and both ways back. Then the
    # softmax, its gradient, the step's counter, the optimizer.
    assert operators_of(11) - operators_of(1) == 10 * most
    assert most == 3 * (len(hidden) + 1) + 3 * len(hidden) + 4


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9)], ids=lambda one: str(one.name))
def test_pixels_that_are_never_lit_may_be_left_out(engine: str, optimizer: Adam | SGD, few: DataSet) -> None:
    architecture = Architecture(hidden=(20,))
    network = network_of(architecture, 6)
    lit = torch.tensor(few.train.images.reshape(-1, 784)).any(0).nonzero()[:, 0]
    assert 300 < len(lit) < 784
    whole = step_of(engine, [network], architecture, optimizer, torch.float64)
    less = step_of(engine, [network], architecture, optimizer, torch.float64, pixels=lit)
    (all_weights,), (weights,) = taken(whole, few), taken(less, few, lit)
    torch.testing.assert_close(weights, all_weights, rtol=1e-6, atol=1e-9)
    assert whole.optimizer_state(0).keys() == less.optimizer_state(0).keys()
    unlit = torch.ones(784, dtype=torch.bool).index_fill_(0, lit, False)
    assert torch.equal(weights[:, unlit], network.layers[0].weight[:, unlit])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_smaller_last_batch_has_buffers_of_its_own(engine: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(8,))
    step = step_of(engine, [network_of(architecture, 0)], architecture, SGD())
    images, labels = on_device(few)
    step.run(images, labels, torch.arange(100).unsqueeze(0))
    step.run(images, labels, torch.arange(3).unsqueeze(0))
    assert 0 < float(step.losses[0]) < 10


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9), SGD()], ids=lambda one: one.model_dump_json())
def test_the_optimizer_goes_on_from_its_saved_state(engine: str, optimizer: Adam | SGD, few: DataSet) -> None:
    architecture = Architecture(hidden=(8,))
    images, labels = on_device(few)
    chosen = torch.arange(BATCH).unsqueeze(0)
    step = step_of(engine, [network_of(architecture, 0)], architecture, optimizer)
    step.run(images, labels, chosen)
    resumed = step_of(engine, [step.network(0)], architecture, optimizer)
    resumed.load_optimizer_state([step.optimizer_state(0)])
    for one in (step, resumed):
        one.run(images, labels, chosen)
    assert torch.equal(step.network(0).layers[0].weight, resumed.network(0).layers[0].weight)


@OPTIMIZERS
def test_one_engine_goes_on_from_the_others_state(optimizer: Adam | SGD, few: DataSet) -> None:
    found = kernel()
    if found is None:
        pytest.skip("no kernel: it needs a C compiler when installing Fanin")
    architecture = Architecture(hidden=(20, 10))
    network = network_of(architecture, 0)
    by_kernel = KernelStep([network], architecture, optimizer, found, torch.float64)
    by_torch = StackedStep([network], architecture, optimizer, CPU, options=TorchOptions(torch.float64))
    taken(by_kernel, few)
    taken(by_torch, few)
    handed_over = StackedStep([by_kernel.network(0)], architecture, optimizer, CPU, options=TorchOptions(torch.float64))
    handed_over.load_optimizer_state([by_kernel.optimizer_state(0)])
    weights, expected = taken(handed_over, few)[0], taken(by_torch, few)[0]
    assert relative_error(weights, expected) < 1e-5  # the state is float32


def test_the_state_of_another_optimizer_or_network_is_refused() -> None:
    small, large = Architecture(hidden=(8,)), Architecture(hidden=(9,))
    step = StackedStep([network_of(small, 0)], small, Adam(), CPU)
    for other in (
        StackedStep([network_of(small, 0)], small, SGD(momentum=0.9), CPU),
        StackedStep([network_of(small, 0)], small, SGD(), CPU),
        StackedStep([network_of(large, 0)], large, Adam(), CPU),
    ):
        with pytest.raises(CheckpointDamaged):
            step.load_optimizer_state([other.optimizer_state(0)])


def test_gradients_by_products_in_bf16_stay_near_those_in_float32(few: DataSet) -> None:
    architecture = Architecture(hidden=(64, 64), activation="tanh")
    network = network_of(architecture, 3)
    images, labels = on_device(few)
    chosen = torch.arange(BATCH).unsqueeze(0)
    exact, rounded = (
        StackedStep([network], architecture, Adam(), CPU, options=options).gradients_of(images, labels, chosen)
        for options in (TorchOptions(), TorchOptions(precision="bf16"))
    )
    assert rounded.dtype == torch.float32
    # Each of the three products behind the first layer's gradient rounds its inputs and its result to 8 bits.
    assert 1e-4 < relative_error(rounded, exact) < 9 * 2**-8
