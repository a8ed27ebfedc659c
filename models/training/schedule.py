"""The schedule of an epoch: the order of images, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from models.randomness import generator
from models.spec import TrainSpec


def orders_of(seeds: Sequence[int], epoch: int, images: int, images_per_epoch: int) -> torch.Tensor:
    """Return the rows that each of K models sees in an epoch, int64 [K, images_per_epoch]; seed and epoch decide."""
    orders = [torch.randperm(images, generator=generator(seed, "order", epoch)) for seed in seeds]
    return torch.stack([order[:images_per_epoch] for order in orders])


def learning_rates(spec: TrainSpec, epoch: int, steps: int) -> list[float]:
    """Return the rate of each step of an epoch; step t = 0, ..., T - 1 of all, W of them warm-up.

    lr (t + 1) / W for t < W; after it lr f((t - W) / (T - W)), where f(s) is 1 (constant), 1 - s (linear) or
    (1 + cos pi s) / 2 (cosine; Loshchilov, Hutter 2017, without restarts).
    """
    before, total, warmup, lr = (epoch - 1) * steps, spec.epochs * steps, spec.warmup_steps, spec.optimizer.lr

    def rate(step: int) -> float:
        if step < warmup:
            return lr * ((step + 1) / warmup)
        if spec.lr_schedule == "constant":
            return lr
        share = (step - warmup) / (total - warmup)
        return lr * (1 - share if spec.lr_schedule == "linear" else (1 + math.cos(math.pi * share)) / 2)

    return [rate(before + step) for step in range(steps)]
