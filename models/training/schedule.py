"""The schedule of an epoch: the order of images, and the learning rate of each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.randomness import generator
from models.spec import TrainSpec


def orders_of(seeds: Sequence[int], epoch: int, images: int, images_per_epoch: int) -> torch.Tensor:
    """Return the rows that each of K models sees in an epoch, int64 [K, images_per_epoch]; seed and epoch decide."""
    orders = [torch.randperm(images, generator=generator(seed, "order", epoch)) for seed in seeds]
    return torch.stack([order[:images_per_epoch] for order in orders])


def learning_rates(spec: TrainSpec, epoch: int, steps: int) -> list[float]:
    """Return the rate of each step of an epoch: constant, or lr (1 - t / T) for step t = 0, ..., T - 1 of all."""
    lr = spec.optimizer.lr
    if spec.lr_schedule == "constant":
        return [lr] * steps
    total = spec.epochs * steps
    return [lr * (1 - ((epoch - 1) * steps + step) / total) for step in range(steps)]
