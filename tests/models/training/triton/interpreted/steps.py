"""Small networks and images, and the same steps by the kernels, by torch in float64 and by torch in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from models.init import initialize
from models.init.by_fans import XavierUniform
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, Adam
from models.training.step import Step
from models.training.torch_step import StackedStep, TorchOptions
from models.training.triton.plan import Card, Plan
from models.training.triton.step import Options, TritonStep
from models.vocabulary import Activation, Precision

CPU = torch.device("cpu")
CARD = Card((8, 0), 108)
PIXELS = torch.arange(100, 148)
IMAGES = 64


def architecture_of(hidden: tuple[int, ...], activation: Activation = "relu") -> Architecture:
    return Architecture(hidden=hidden, activation=activation)


def networks_of(architecture: Architecture, count: int, first: int = 0) -> list[Network]:
    networks = []
    for seed in range(first, first + count):
        network = Network.empty(architecture)
        initialize(network, XavierUniform(bias="torch_default"), seed)
        networks.append(network)
    return networks


def training_images(pixels: int = len(PIXELS), images: int = IMAGES) -> tuple[Tensor, Tensor]:
    """Return images, half of their pixels dark, and labels."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(0, 256, (images, pixels), generator=generator, dtype=torch.uint8)
    lit = torch.rand((images, pixels), generator=generator) < 0.5
    return values * lit, torch.randint(0, 10, (images,), generator=generator)


def rows_of(count: int, length: int, images: int = IMAGES) -> Tensor:
    """Return rows that differ from network to network, and not with how many networks there are."""
    return torch.stack(
        [torch.randint(0, images, (length,), generator=torch.Generator().manual_seed(seed)) for seed in range(count)]
    )


def kernels_of(
    networks: list[Network],
    architecture: Architecture,
    optimizer: Adam | SGD,
    batch: int,
    *,
    card: Card = CARD,
    precision: Precision = "float32",
    pixels: Tensor = PIXELS,
    plan: Plan | None = None,
) -> TritonStep:
    return TritonStep(networks, architecture, optimizer, pixels, CPU, Options(batch, card, precision, plan))


def torch_of(
    networks: list[Network],
    architecture: Architecture,
    optimizer: Adam | SGD,
    dtype: torch.dtype = torch.float64,
    pixels: Tensor = PIXELS,
) -> StackedStep:
    return StackedStep(networks, architecture, optimizer, CPU, pixels, TorchOptions(dtype))


def whole(step: Step, index: int, flat: Tensor | None = None) -> Tensor:
    """Return all parameters of a network, or what a flat buffer has of them, in float64, one after another."""
    named = step.parameters.named(step.parameters.values if flat is None else flat, index, torch.float64)
    return torch.cat([named[name].flatten() for name in sorted(named)])


def distance(left: Tensor, right: Tensor, start: Tensor | None = None) -> float:
    """Return how far left is from right, relatively to right, or to the way from a start."""
    return float((left - right).norm() / (right if start is None else right - start).norm())
