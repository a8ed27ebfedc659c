"""Snapshots of models, and networks that are made from snapshots or from pre-training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.errors import InvalidSpec
from models.init import replace_output
from models.init.base import Generators
from models.init.pretrained import Dbn
from models.network.mlp import Network
from models.pretrain.dbn import Pretraining
from models.pretrain.output_layer import TrainingDigits, train_output_layer
from models.spec import TrainSpec


@dataclass(frozen=True)
class Snapshot:
    """One model after `epoch` epochs (0: initial): weights as `Network.to_weights`, and the optimizer state."""

    epoch: int
    weights: Mapping[str, NDArray[np.float32]]
    optimizer: Mapping[str, NDArray[np.float32]]


def pretrained_network(
    spec: TrainSpec,
    pretraining: Pretraining,
    images: Tensor,
    labels: Tensor,
    between_epochs: Callable[[], None] | None = None,
) -> Network:
    """Return the same network as `TrainSpec.first_network`, from a finished pre-training, computed on its device.

    `images` uint8 [N, 784] and `labels` int64 [N] are those that the spec trains on. `between_epochs` is called before
    every epoch in which the output layer learns alone, and what it raises passes through.
    """
    assert isinstance(spec.init, Dbn)
    network, generators = Network.empty(spec.architecture), Generators.of(spec.seed)
    pretraining.fill(network)
    spec.init.fill_output(network, generators)
    replace_output(network, spec.output_init, generators)
    train_output_layer(
        network,
        TrainingDigits(images, labels),
        epochs=spec.init.output_epochs,
        seed=spec.seed,
        device=pretraining.device,
        between_epochs=between_epochs,
    )
    return network


def networks_of(specs: Sequence[TrainSpec], snapshots: Sequence[Snapshot]) -> list[Network]:
    """Return the networks of the snapshots, one per spec. Raises `InvalidSpec` if their number or epochs differ."""
    if len({snapshot.epoch for snapshot in snapshots}) != 1 or len(snapshots) != len(specs):
        raise InvalidSpec("A training continues from one snapshot per model, all of the same epoch.")
    return [
        Network.of_weights(snapshot.weights, spec.architecture) for spec, snapshot in zip(specs, snapshots, strict=True)
    ]
