"""What only a GPU can show of the kernels: distance from float64, bits, graphs, learning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.data.mnist import DataSet
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import Adam, TrainSpec
from models.training.engine import make_step, why_not_triton
from models.training.epoch_loops import DeviceLoop
from models.training.step import CapturableStep
from models.training.torch_step import StackedStep, TorchOptions
from models.training.train import Training
from models.training.training_set import TrainingSet, training_set
from models.training.triton.availability import why_unavailable
from models.vocabulary import Activation, Precision

CUDA = torch.device("cuda")
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or why_unavailable(CUDA) is not None,
    reason="needs a GPU and Triton: run benchmarks/gpu.sh where they are",
)
STEPS, BATCH = 100, 100
REFERENCE, DEEP = (256, 256), (512,) * 4


def spec_of(
    hidden: tuple[int, ...], precision: Precision = "float32", seed: int = 0, activation: Activation = "relu"
) -> TrainSpec:
    architecture = Architecture(hidden=hidden, activation=activation)
    return TrainSpec(architecture=architecture, precision=precision, data="mnist_5k", seed=seed)


def networks_of(spec: TrainSpec, count: int, images: Tensor) -> list[Network]:
    return [spec.model_copy(update={"seed": seed}).first_network(images) for seed in range(count)]


def kernels_of(spec: TrainSpec, count: int, digits: TrainingSet) -> CapturableStep:
    step = make_step("triton-step", networks_of(spec, count, digits.images), spec, CUDA, digits.pixels)
    assert isinstance(step, CapturableStep)
    return step


def orders_of(count: int, images: int, steps: int = STEPS) -> Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    return torch.stack([torch.randint(images, (steps * BATCH,), generator=generator) for generator in generators]).to(
        CUDA
    )


def trained(step: CapturableStep, digits: TrainingSet, orders: Tensor, at_once: int = 5) -> Tensor:
    """Take steps of lr 1e-3 and return all parameters [K, n] in float64."""
    for chosen in torch.split(orders, at_once * BATCH, dim=1):
        step.run_steps(digits.lit, digits.labels, chosen, torch.full((chosen.shape[1] // BATCH,), 1e-3, device=CUDA))
    return parameters_of(step)


def parameters_of(step: CapturableStep) -> Tensor:
    parts = [part.reshape(step.count, -1) for layer in step.parameters.layers for part in (layer.weight, layer.bias)]
    return torch.cat(parts, dim=1).double()


@pytest.mark.parametrize(("hidden", "count"), [(REFERENCE, 1), (REFERENCE, 4), (REFERENCE, 64), (DEEP, 1)], ids=str)
def test_a_hundred_steps_are_as_near_to_float64_as_those_of_torch(
    hidden: tuple[int, ...], count: int, five_thousand: DataSet
) -> None:
    # tanh: with ReLU, rounding that puts one unit on the other side of its kink takes a network off the path for good.
    ours_apart, single_apart = distances_from_float64(hidden, count, "tanh", five_thousand)
    assert ours_apart.median() <= 2 * single_apart.median()


def test_with_relu_as_many_networks_stay_near_float64_as_in_torch(five_thousand: DataSet) -> None:
    ours_apart, single_apart = distances_from_float64(REFERENCE, 64, "relu", five_thousand)
    off_the_path = 100 * single_apart.min()  # one crossed kink moves a network by some hundred times its rounding
    ours_left, single_left = (int((apart > off_the_path).sum()) for apart in (ours_apart, single_apart))
    # Twelve is three standard deviations of the difference between two counts of 64 even chances each, rounded down.
    assert ours_left - single_left <= 12
    assert ours_apart.min() <= 2 * single_apart.min()


def distances_from_float64(
    hidden: tuple[int, ...], count: int, activation: Activation, data: DataSet
) -> tuple[Tensor, Tensor]:
    """Return how far networks [K] are from those in float64 after `STEPS`: by the kernels, and by the step in torch."""
    spec = spec_of(hidden, activation=activation)
    digits = training_set(spec, data, CUDA)
    torch.backends.cuda.matmul.allow_tf32 = False
    networks, orders = networks_of(spec, count, digits.images), orders_of(count, len(digits.labels))
    exact, single = (
        trained(
            StackedStep(networks, spec.architecture, Adam(), CUDA, digits.pixels, TorchOptions(dtype)), digits, orders
        )
        for dtype in (torch.float64, torch.float32)
    )
    ours = trained(kernels_of(spec, count, digits), digits, orders)
    return (ours - exact).norm(dim=1), (single - exact).norm(dim=1)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("hidden", [REFERENCE, DEEP, (37, 50)], ids=str)
def test_a_network_has_the_same_bits_whatever_its_neighbours_are(
    hidden: tuple[int, ...], precision: Precision, five_thousand: DataSet
) -> None:
    spec = spec_of(hidden, precision)
    digits = training_set(spec, five_thousand, CUDA)
    orders = orders_of(16, len(digits.labels))
    alone, few, many = (trained(kernels_of(spec, count, digits), digits, orders[:count]) for count in (1, 3, 16))
    assert torch.equal(alone[0], many[0])
    assert torch.equal(few, many[:3])


@pytest.mark.parametrize("hidden", [REFERENCE, (20,)], ids=str)
def test_replayed_steps_have_the_bits_of_those_launched_one_by_one(
    hidden: tuple[int, ...], five_thousand: DataSet
) -> None:
    spec = spec_of(hidden)
    digits = training_set(spec, five_thousand, CUDA)
    orders = orders_of(2, len(digits.labels), 47)  # two graphs of 23, and one that is launched
    replayed = kernels_of(spec, 2, digits)
    loop = DeviceLoop(replayed, digits.lit, digits.labels, BATCH, orders.shape[1])
    losses = loop.run(orders, [1e-3] * 47, lambda _done, _losses: None)
    launched = kernels_of(spec, 2, digits)
    assert torch.equal(trained(launched, digits, orders, at_once=1), parameters_of(replayed))
    assert torch.equal(launched.losses, losses[-1])
    assert launched.take_sums() == replayed.take_sums()


def test_a_training_chooses_the_kernels_and_learns_as_well_as_by_torch(five_thousand: DataSet) -> None:
    specs = [spec_of(REFERENCE, seed=seed).model_copy(update={"epochs": 5}) for seed in range(10)]
    assert why_not_triton(specs[0], CUDA) is None
    accuracies = []
    for engine in (None, "stacked-step"):
        training = Training(specs, five_thousand, CUDA, engine=engine)
        assert training.engine == (engine or "triton-step")
        while not training.finished:
            training.run_epoch()
        accuracies.append(sum(training.evaluate(index).accuracy for index in range(10)) / 10)
    assert accuracies[0] > 0.9
    assert abs(accuracies[0] - accuracies[1]) < 0.01  # of 1,000 digits, means of ten: three standard deviations
