"""The training images in the layout that steps read; cached for similar jobs of a worker.

Laying out MNIST takes 40 ms, as long as several dozen steps, and most jobs need the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.mnist import DataSet
from models.data.training_images import raise_if_misfit, training_images
from models.native.row_layout import LINE, rounded_up
from models.spec import TrainSpec
from models.training import huge_pages
from models.vocabulary import PIXELS

KEPT = "training_set"
"""The name under which a data set keeps its last training set (`DataSet.derived`)."""


@dataclass(frozen=True)
class TrainingSet:
    """Images and labels to train on. Several trainings may share one, because they only read it.

    `images` uint8 [n, 784] on the CPU; `pixels` int64 [m], those that are used, in ascending order; `lit` uint8 [n, m],
    the images' values there, and `labels` int64 [n], on the device.
    """

    images: Tensor
    pixels: Tensor
    lit: Tensor
    labels: Tensor


@dataclass(frozen=True)
class _Kept:
    """The last training set, and what it depends on: the held-out images, whether all pixels are used, the device."""

    key: tuple[int, bool, torch.device]
    training_set: TrainingSet


def training_set(spec: TrainSpec, data: DataSet, device: torch.device) -> TrainingSet:
    """Return the training set of `spec`: all images but those held out at the end.

    Raises `InvalidSpec` as `training_images`. Pixels that no training image lights are left out: their weights get no
    gradient, so Adam and SGD do not change them. With weight decay, or standardized inputs, all pixels are used.
    """
    raise_if_misfit(spec, data)
    uses_all = spec.optimizer.weight_decay > 0 or spec.architecture.inputs == "standardized"
    key = (spec.validation_images, uses_all, device)
    kept = data.derived.get(KEPT)
    if isinstance(kept, _Kept) and kept.key == key:
        return kept.training_set
    images = training_images(spec, data)
    pixels = torch.arange(PIXELS) if uses_all else _lit_pixels(images)
    if device.type != "cpu":
        pixels = _whole_lines(pixels)
    labels = torch.tensor(data.train.labels[: len(images)], dtype=torch.int64).to(device)
    new_set = TrainingSet(images, pixels, huge_pages.columns(images, pixels, device), labels)
    data.derived[KEPT] = _Kept(key, new_set)
    return new_set


def _whole_lines(pixels: Tensor) -> Tensor:
    """Return the pixels, filled up with unused ones to rows of whole 64 bytes (float32), which cuBLAS reads faster."""
    others = torch.ones(PIXELS, dtype=torch.bool).index_fill_(0, pixels, False).nonzero()[:, 0]
    missing = rounded_up(len(pixels), LINE) - len(pixels)
    return torch.cat([pixels, others[:missing]]).sort().values


def _lit_pixels(images: Tensor) -> Tensor:
    """Return the pixels that are lit in any image, int64 [n], at least one."""
    lit = images.any(0).nonzero()[:, 0]
    return lit if len(lit) else torch.zeros(1, dtype=torch.int64)
