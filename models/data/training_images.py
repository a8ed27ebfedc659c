"""The images that a spec trains on."""

from __future__ import annotations

import torch
from torch import Tensor

from models.data.mnist import DataSet
from models.errors import InvalidSpec
from models.spec import TrainSpec, misfit
from models.vocabulary import PIXELS


def training_images(spec: TrainSpec, data: DataSet) -> Tensor:
    """Return the images that a spec trains on, uint8 [n, 784] on the CPU: all but those held out at the end.

    Raises `InvalidSpec` if the spec cannot be trained on this data.
    """
    raise_if_misfit(spec, data)
    kept = len(data.train.labels) - spec.validation_images
    return torch.tensor(data.train.images[:kept].reshape(kept, PIXELS))


def raise_if_misfit(spec: TrainSpec, data: DataSet) -> None:
    """Raise `InvalidSpec` if a spec cannot be trained on as many images as `data` has."""
    problem = misfit(spec, len(data.train.labels))
    if problem:
        raise InvalidSpec(f"{problem} (data set: {data.name}).")
