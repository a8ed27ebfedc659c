"""Train one or many models at once, from a spec to checkpoints.

`Training` holds K models in training and advances them an epoch at a time; `train` runs it to the end. Its
caller decides where checkpoints go: nothing here knows files. A training that is continued from a snapshot
gives the same bits as one that was never interrupted, on the same device, thread count and versions: the
order of images is drawn from (seed, epoch), never from a running stream.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from models.data import DataSet, Digits
from models.diagnosis import Diagnostics
from models.diagnostics import Probe, diagnose
from models.errors import InvalidSpec, LossNotFinite
from models.evaluate import count
from models.init import initialize, replace_output
from models.init.base import Generators
from models.mlp import Network
from models.pretrain.dbn import Pretraining
from models.randomness import generator
from models.results import EpochMetrics
from models.spec import PIXELS, TrainSpec, misfit
from models.step import StackedStep
from models.step_progress import StepProgress

FIRST_BELOW_LOSS = 2.0
SMOOTHED_STEPS = 10
GPU_LOSS_CHECK_STEPS = 50  # reading the loss makes the host wait for a GPU, so not at every step


@dataclass(frozen=True)
class Snapshot:
    """One model after `epoch` epochs (0: initial): weights as `Network.to_weights`, and the optimizer's memory."""

    epoch: int
    weights: Mapping[str, NDArray[np.float32]]
    optimizer: Mapping[str, NDArray[np.float32]]


BetweenSteps = Callable[[StepProgress], None]


class Training:
    """K models of equal architecture, optimizer, batch size, epochs and data, in training."""

    def __init__(
        self,
        specs: Sequence[TrainSpec],
        data: DataSet,
        device: torch.device,
        snapshots: Sequence[Snapshot] | None = None,
    ) -> None:
        """Start from freshly initialized weights, or continue from one snapshot a spec (of equal epochs).

        Raises `InvalidSpec` if the specs cannot be trained together or on this data.
        """
        self.specs = list(specs)
        self.data = data
        self._shared = _shared_part(self.specs)
        problem = misfit(self._shared, len(data.train.labels))
        if problem:
            raise InvalidSpec(f"{problem} (data set: {data.name}).")
        kept = len(data.train.labels) - self._shared.validation_images
        self._validation = Digits(data.train.images[kept:], data.train.labels[kept:])
        images = training_images(self._shared, data)
        self._images = images.to(device)
        labels = torch.tensor(data.train.labels[:kept], dtype=torch.int64)
        self._labels = labels.to(device)
        self._device = device
        networks = (
            [first_network(spec, images) for spec in self.specs]
            if snapshots is None
            else _networks(self.specs, snapshots)
        )
        self._step = StackedStep(networks, self._shared.architecture, self._shared.optimizer, device)
        self._probe = Probe.of(images, labels)
        self._diagnosed = list(networks)
        self.epoch = 0
        if snapshots is not None:
            self.epoch = snapshots[0].epoch
            if self.epoch > 0:
                self._step.load_optimizer_state([snapshot.optimizer for snapshot in snapshots])

    @property
    def finished(self) -> bool:
        """Say whether all epochs of the spec are done."""
        return self.epoch >= self._shared.epochs

    @property
    def images_per_epoch(self) -> int:
        """Return how many images one model sees in an epoch."""
        total, batch = len(self._labels), self._shared.batch_size
        return total - total % batch if self._shared.drop_last else total

    def snapshot(self, index: int) -> Snapshot:
        """Return a copy of one model as it stands between two epochs."""
        optimizer = self._step.optimizer_state(index) if self.epoch > 0 else {}
        return Snapshot(self.epoch, self._step.network(index).to_weights(), optimizer)

    def running_loss(self, index: int, images: int) -> float:
        """Return the mean loss over the first `images` images of the epoch in progress, in nats an image."""
        return float(self._step.loss_sums[index]) / images

    def network(self, index: int) -> Network:
        """Return a copy of one network."""
        return self._step.network(index)

    def diagnose(self, index: int) -> Diagnostics:
        """Return the statistics of one model's layers as it stands between two epochs, on the first training images.

        At the start also what theory predicts, and singular values at the start and the end. Trains nothing.
        """
        network, spec = self._step.network(index), self.specs[index]
        is_start = self.epoch == 0
        found = diagnose(
            network,
            self._probe,
            epoch=self.epoch,
            scheme=spec.init if is_start else None,
            architecture=spec.architecture if is_start else None,
            output_init=spec.output_init,
            before=None if is_start else self._diagnosed[index],
            thorough=is_start or self.finished,
        )
        self._diagnosed[index] = network
        return found

    def run_epoch(self, between_steps: BetweenSteps | None = None) -> list[EpochMetrics]:
        """Train one epoch and return the metrics of every model.

        `between_steps` is called after every step; what it raises ends the epoch and passes through, and the
        training must then be dropped. Raises `LossNotFinite` when a model diverges.
        """
        started = time.perf_counter()
        number = self.epoch + 1
        orders = self._orders(number)
        batches = torch.split(orders, self._shared.batch_size, dim=1)
        losses = torch.empty((len(batches), len(self.specs)), device=self._device)
        for step, chosen in enumerate(batches, start=1):
            self._step.lr = self._lr(number, step, len(batches))
            self._step.run(self._images, self._labels, chosen)
            losses[step - 1] = self._step.losses
            if self._device.type == "cpu" or step % GPU_LOSS_CHECK_STEPS == 0:
                self._check_losses(number, step)
            if between_steps is not None:
                done = min(step * self._shared.batch_size, self.images_per_epoch)
                between_steps(StepProgress(number, step, len(batches), done, time.perf_counter() - started))
        loss_sums, hits = self._step.take_sums()
        self._check_losses(number, len(batches))
        seconds = time.perf_counter() - started
        self.epoch = number
        before = (number - 1) * len(batches)
        return [
            self._metrics(index, loss_sums[index], hits[index], seconds, _first_below(own, before))
            for index, own in enumerate(losses.t().tolist())
        ]

    def _lr(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step: constant, or lr (1 - t / T) for step t = 0, ..., T - 1 of all."""
        lr = self._shared.optimizer.lr
        if self._shared.lr_schedule == "constant":
            return lr
        done = (epoch - 1) * steps_per_epoch + step - 1
        return lr * (1 - done / (self._shared.epochs * steps_per_epoch))

    def _orders(self, epoch: int) -> torch.Tensor:
        """Return the rows each model sees in `epoch`, int64 [K, images_per_epoch], on the device."""
        orders = [
            torch.randperm(len(self._labels), generator=generator(spec.seed, "order", epoch))[: self.images_per_epoch]
            for spec in self.specs
        ]
        return torch.stack(orders).to(self._device)

    def _check_losses(self, epoch: int, step: int) -> None:
        for index, loss in enumerate(self._step.losses.tolist()):
            if not math.isfinite(loss):
                network = self._step.network(index)
                weights = ", ".join(f"{layer.weight.square().mean().sqrt():.3g}" for layer in network.layers)
                gradients = ", ".join(f"{value:.3g}" for value in self._step.gradient_rms(index))
                raise LossNotFinite(
                    f"The loss became {loss} in epoch {epoch}, step {step}. Root mean squares by layer, first to last: "
                    f"weights {weights}; their gradients {gradients}.",
                    "Use a smaller learning rate or a smaller initial scale.",
                )

    def _metrics(self, index: int, loss_sum: float, hits: int, seconds: float, first_below: int | None) -> EpochMetrics:
        images = self.images_per_epoch
        network = self._step.network(index) if self._shared.test_curve or self._shared.validation_images else None
        validation = count(network, self._validation) if network and self._shared.validation_images else None
        on_test_set = network if self._shared.test_curve and self.data.evaluated_on == "mnist_test" else None
        return EpochMetrics(
            epoch=self.epoch,
            train_loss_mean=loss_sum / images,
            train_loss_last_batch=float(self._step.losses[index]),
            train_accuracy=hits / images,
            duration_s=seconds,
            images_per_s=images / seconds,
            first_step_below_2=first_below,
            validation_loss=validation.mean_loss if validation and math.isfinite(validation.mean_loss) else None,
            validation_accuracy=validation.accuracy if validation else None,
            test_accuracy=count(on_test_set, self.data.test).accuracy if on_test_set else None,
        )


def train(
    specs: Sequence[TrainSpec],
    data: DataSet,
    device: torch.device,
    between_steps: BetweenSteps | None = None,
) -> Iterator[tuple[Training, list[EpochMetrics]]]:
    """Train to the end; after every epoch yield the training and that epoch's metrics, one a model."""
    training = Training(specs, data, device)
    while not training.finished:
        yield training, training.run_epoch(between_steps)


def _shared_part(specs: Sequence[TrainSpec]) -> TrainSpec:
    """Return the first spec if all differ from it only in how they are initialized and seeded."""
    own = {"init", "output_init", "seed"}
    first = specs[0]
    for spec in specs[1:]:
        if spec.model_dump(exclude=own) != first.model_dump(exclude=own):
            raise InvalidSpec("Models that are trained together may differ only in init, output_init and seed.")
    return first


def _first_below(losses: Sequence[float], steps_before: int) -> int | None:
    """Return the first step, counted over all epochs, at which the mean of the last few losses is below 2.0."""
    for end in range(SMOOTHED_STEPS, len(losses) + 1):
        if fmean(losses[end - SMOOTHED_STEPS : end]) < FIRST_BELOW_LOSS:
            return steps_before + end
    return None


def training_images(spec: TrainSpec, data: DataSet) -> torch.Tensor:
    """Return the images that a spec trains on, uint8 [n, 784] on the CPU: all but those held out at the end."""
    kept = len(data.train.labels) - spec.validation_images
    return torch.tensor(data.train.images[:kept].reshape(kept, PIXELS))


def first_network(spec: TrainSpec, images: torch.Tensor) -> Network:
    """Return the network as its scheme fills it; `images` as `training_images`. Pre-trains if the scheme does."""
    network = Network.empty(spec.architecture)
    initialize(network, spec.init, spec.seed, spec.output_init, images)
    return network


def pretrained_network(spec: TrainSpec, pretraining: Pretraining) -> Network:
    """Return what `first_network` would, of a pre-training that has been run to its end."""
    network, generators = Network.empty(spec.architecture), Generators.of(spec.seed)
    pretraining.fill(network)
    pretraining.settings.fill_output(network, generators)
    replace_output(network, spec.output_init, generators)
    return network


def _networks(specs: Sequence[TrainSpec], snapshots: Sequence[Snapshot]) -> list[Network]:
    if len({snapshot.epoch for snapshot in snapshots}) != 1 or len(snapshots) != len(specs):
        raise InvalidSpec("A training continues from one snapshot a model, all of the same epoch.")
    return [
        Network.of_weights(snapshot.weights, spec.architecture) for spec, snapshot in zip(specs, snapshots, strict=True)
    ]
