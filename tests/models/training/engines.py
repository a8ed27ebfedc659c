"""The steps of all engines, and what tests give them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from models.data.mnist import DataSet
from models.init import initialize
from models.init.base import Bias
from models.init.by_fans import XavierUniform
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, Adam
from models.training.kernel_library import Variant, load_kernel, runnable
from models.training.kernel_step import KernelStep
from models.training.step import Step
from models.training.torch_step import StackedStep, TorchOptions

BATCH = 80
CPU = torch.device("cpu")


def network_of(architecture: Architecture, seed: int, bias: Bias = "torch_default") -> Network:
    network = Network.empty(architecture)
    value = 0.1 if bias == "constant" else 0.0
    std = 0.1 if bias == "normal" else None
    initialize(network, XavierUniform(bias=bias, bias_value=value, bias_std=std), seed)
    return network


ENGINES = ("stacked", *get_args(Variant))


def step_of(
    engine: str,
    networks: list[Network],
    architecture: Architecture,
    optimizer: Adam | SGD,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Step:
    """Return the step of an engine; skip the test where the engine is not there."""
    if engine == "stacked":
        return StackedStep(networks, architecture, optimizer, CPU, options=TorchOptions(dtype), **options)
    found = load_kernel(engine) if engine in runnable() else None
    if found is None:
        pytest.skip(f"no {engine} kernel: it needs such a processor, and a C compiler when installing Fanin")
    return KernelStep(networks, architecture, optimizer, found, dtype, **options)


def on_device(few: DataSet) -> tuple[Tensor, Tensor]:
    images = torch.tensor(few.train.images.reshape(len(few.train.labels), 784))
    return images, torch.tensor(few.train.labels, dtype=torch.int64)


def taken(step: Step, few: DataSet, pixels: Tensor | None = None) -> list[Tensor]:
    """Take steps through all images, each network in an order of its own; return the first layers' weights."""
    images, labels = on_device(few)
    if pixels is not None:
        images = images[:, pixels]
    orders = [torch.randperm(len(labels), generator=torch.Generator().manual_seed(n)) for n in range(step.count)]
    for chosen in torch.split(torch.stack(orders), BATCH, dim=1):
        step.run(images, labels, chosen)
    return [step.network(index).layers[0].weight for index in range(step.count)]
