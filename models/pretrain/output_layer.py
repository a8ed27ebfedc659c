"""Train the output layer alone, on what a pre-trained network's hidden layers compute.

Pre-trained hidden layers meet large, wrong gradients while the output layer is still random. Hinton, Salakhutdinov 2006
(their released code) therefore let only the top layer learn for the first five epochs of fine-tuning. Here that is a
softmax regression with Adam (1e-3) on the last hidden layer's activations, which are computed once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from models.network.activations import ACTIVATIONS
from models.pretrain.batch_loop import BatchLoop
from models.randomness import generator

if TYPE_CHECKING:
    from models.network.mlp import Network

RATE = 1e-3
BATCH = 100
CHUNK_IMAGES = 5000


class TrainingDigits(NamedTuple):
    """Images uint8 [n, 784] and labels int64 [n]."""

    images: Tensor
    labels: Tensor


def train_output_layer(
    network: Network,
    digits: TrainingDigits,
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    between_epochs: Callable[[], None] | None = None,
) -> None:
    """Train the output layer of a network on the CPU in place; the hidden layers stay.

    It is computed on `device`. The order of images is drawn from (seed, epoch). `between_epochs` is called before every
    epoch, and what it raises passes through.
    """
    if epochs == 0:
        return
    features = torch.cat([_features(network, part, device) for part in torch.split(digits.images, CHUNK_IMAGES)])
    targets = digits.labels.to(device, torch.int64)
    output = network.layers[-1]
    weight, bias = (tensor.to(device).clone() for tensor in (output.weight, output.bias))
    optimizer = torch.optim.Adam([weight, bias], lr=RATE, foreach=False, capturable=device.type == "cuda")

    def step(chosen: Tensor) -> None:
        h = features.index_select(0, chosen)
        dz = torch.addmm(bias, h, weight.t()).softmax(1)
        of_labels = targets.index_select(0, chosen)[:, None]
        dz.scatter_add_(1, of_labels, torch.full_like(dz[:, :1], -1.0))
        dz /= len(chosen)
        weight.grad, bias.grad = dz.t() @ h, dz.sum(0)
        optimizer.step()

    loop = BatchLoop(step, [weight, bias, *_memory_of(optimizer)], BATCH, device)
    for epoch in range(1, epochs + 1):
        if between_epochs is not None:
            between_epochs()
        order = torch.randperm(len(targets), generator=generator(seed, "output_order", epoch)).to(device)
        loop.run(order)
    output.weight.copy_(weight)
    output.bias.copy_(bias)


def _memory_of(optimizer: torch.optim.Adam) -> list[Tensor]:
    """Return what Adam remembers, which it would make at its first step, in the middle of a capture."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            step = torch.zeros((), device=parameter.device) if group["capturable"] else torch.zeros(())
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": step, **moments}
    return [tensor for state in optimizer.state.values() for tensor in state.values()]


def _features(network: Network, images: Tensor, device: torch.device) -> Tensor:
    """Return the activations of the last hidden layer [n, units], float32 on `device`."""
    h = images.to(device).float().div_(255.0)
    for layer in network.layers[:-1]:
        z = torch.addmm(layer.bias.to(device), h, layer.weight.to(device).t())
        h = torch.empty_like(z)
        ACTIVATIONS[network.activation].forward(z, h)
    return h
