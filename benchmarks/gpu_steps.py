"""What the measurements of the engine on a GPU share: data, steps by each engine, and training by graphs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.data.mnist import DataSet, read_mnist
from models.evaluation.evaluate import evaluate
from models.init import initialize
from models.init.by_fans import XavierUniform
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, Adam, TrainSpec
from models.training.epoch_loops import DeviceLoop
from models.training.step import CapturableStep
from models.training.torch_step import StackedStep, TorchOptions
from models.training.training_set import TrainingSet, training_set
from models.training.triton.availability import card_of
from models.training.triton.plan import Plan, plan_of
from models.training.triton.step import Options, TritonStep
from models.vocabulary import Activation, Precision

CUDA = torch.device("cuda")
REFERENCE, DEEP = (256, 256), (512, 512, 512, 512)
BATCH, EPOCHS = 100, 15
LR = 1e-3


@dataclass(frozen=True)
class Case:
    """Networks of one shape, side by side."""

    hidden: tuple[int, ...] = REFERENCE
    count: int = 1
    precision: Precision = "float32"
    activation: Activation = "relu"
    optimizer: Adam | SGD = dataclasses.field(default_factory=Adam)
    batch: int = BATCH

    @property
    def name(self) -> str:
        """Return the case in words."""
        return f"{self.count} x {'-'.join(map(str, self.hidden))} {self.precision}"


class Bench:
    """MNIST on the card, and what is done with it."""

    def __init__(self, folder: Path) -> None:
        self.data: DataSet = read_mnist(folder)
        self.set: TrainingSet = training_set(TrainSpec(), self.data, CUDA)

    def default_plan(self, case: Case) -> Plan:
        """Return the plan that a case has."""
        return plan_of((len(self.set.pixels), *case.hidden, 10), case.batch, card_of(CUDA))

    def kernels(self, case: Case, plan: Plan | None = None) -> TritonStep:
        """Return the step of a case by the kernels."""
        architecture = Architecture(hidden=case.hidden, activation=case.activation)
        options = Options(case.batch, card_of(CUDA), case.precision, plan)
        return TritonStep(_networks(case), architecture, case.optimizer, self.set.pixels, CUDA, options)

    def torch(self, case: Case, dtype: torch.dtype = torch.float32) -> StackedStep:
        """Return the step of a case in torch."""
        torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"
        architecture = Architecture(hidden=case.hidden, activation=case.activation)
        pixels, precision = self.set.pixels, case.precision
        options = TorchOptions(dtype, precision)
        return StackedStep(_networks(case), architecture, case.optimizer, CUDA, pixels, options)

    def orders(self, count: int, length: int, first: int = 0) -> Tensor:
        """Return rows int64 [count, length] on the card, the same for network k however many there are."""
        images = len(self.set.labels)
        repeats = -(-length // images)
        generators = [torch.Generator(CUDA).manual_seed(first + number) for number in range(count)]
        return torch.stack(
            [
                torch.cat([torch.randperm(images, generator=generator, device=CUDA) for _ in range(repeats)])[:length]
                for generator in generators
            ]
        )

    def steps(self, step: CapturableStep, orders: Tensor, at_once: int, lr: float = LR, batch: int = BATCH) -> Tensor:
        """Take steps without a graph, a few at once; return the losses of all [steps, K]."""
        losses = []
        for chosen in torch.split(orders, at_once * batch, dim=1):
            rates = torch.full((chosen.shape[1] // batch,), lr, device=CUDA)
            losses.append(step.run_steps(self.set.lit, self.set.labels, chosen, rates).clone())
        return torch.cat(losses)

    def graphed(self, step: CapturableStep, orders: Tensor, batch: int = BATCH) -> Tensor:
        """Take the steps of an epoch by graphs; return their losses."""
        loop = DeviceLoop(step, self.set.lit, self.set.labels, batch, orders.shape[1])
        return loop.run(orders, [LR] * (orders.shape[1] // batch), lambda _done, _losses: None)

    def timed(self, make: Callable[[], CapturableStep], repeats: int = 1) -> dict[str, Any]:
        """Return set-up and training seconds of EPOCHS epochs (the median of some), and the test accuracy."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            step, images = make(), len(self.set.labels)
            loop = DeviceLoop(step, self.set.lit, self.set.labels, BATCH, images)
            torch.cuda.synchronize()
            setup_s = time.perf_counter() - started
            orders = [self.orders(step.count, images, 1000 * epoch) for epoch in range(EPOCHS)]
            rates = [LR] * (images // BATCH)
            torch.cuda.synchronize()
            started = time.perf_counter()
            for order in orders:
                loop.run(order, rates, lambda _done, _losses: None)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        accuracies = [evaluate(step.network(index), self.data, CUDA).accuracy for index in range(step.count)]
        return {
            "s": sorted(seconds)[len(seconds) // 2],
            "us_a_step": 1e6 * sorted(seconds)[len(seconds) // 2] / (EPOCHS * (images // BATCH)),
            "setup_s": setup_s,
            "accuracy": sum(accuracies) / len(accuracies),
            "accuracy_least": min(accuracies),
            "mib": torch.cuda.max_memory_allocated() / 2**20,
        }


def parameters_of(step: CapturableStep) -> Tensor:
    """Return all parameters of each network, float64 [K, n], in one order for every engine, on the card."""
    layers = step.parameters.layers
    parts = [part.reshape(step.count, -1) for layer in layers for part in (layer.weight, layer.bias)]
    return torch.cat(parts, dim=1).double()


def _networks(case: Case) -> list[Network]:
    architecture, networks = Architecture(hidden=case.hidden, activation=case.activation), []
    for seed in range(case.count):
        network = Network.empty(architecture)
        initialize(network, XavierUniform(bias="torch_default"), seed)
        networks.append(network)
    return networks
