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
from copy import copy
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from models.data import DataSet, Digits
from models.diagnosis import Diagnostics
from models.diagnostics import Probe, diagnose
from models.engine import best_engine, make_step
from models.epoch_loops import DeviceLoop, EpochLoop, HostLoop
from models.errors import InvalidSpec, LossNotFinite
from models.evaluate import count, evaluate
from models.init import initialize, replace_output
from models.init.base import Generators
from models.mlp import Network
from models.pretrain.dbn import Pretraining
from models.randomness import generator
from models.results import EpochMetrics, Evaluation
from models.spec import TrainSpec
from models.step import CapturableStep
from models.step_progress import StepProgress
from models.training_set import training_set

FIRST_BELOW_LOSS = 2.0
SMOOTHED_STEPS = 10


@dataclass(frozen=True)
class Snapshot:
    """One model after `epoch` epochs (0: initial): weights as `Network.to_weights`, and the optimizer's memory."""

    epoch: int
    weights: Mapping[str, NDArray[np.float32]]
    optimizer: Mapping[str, NDArray[np.float32]]


BetweenSteps = Callable[[StepProgress], None]


class Training:
    """K models of equal architecture, optimizer, batch size, epochs and data, in training.

    A model that diverges, or that its caller drops, leaves the others as they are: it is in `failures`, or simply gone.
    """

    def __init__(
        self,
        specs: Sequence[TrainSpec],
        data: DataSet,
        device: torch.device,
        snapshots: Sequence[Snapshot] | None = None,
        engine: str | None = None,
    ) -> None:
        """Start from freshly initialized weights, or continue from one snapshot a spec (of equal epochs).

        `engine` (None: the best) is one of `models.engine`. On a CPU the thread that calls, and those that torch starts
        from it, take numbers below 1.2e-38 for zero from now on. Raises `InvalidSpec` if the specs cannot be trained
        together or on this data, `EngineMissing` if the engine is not there.
        """
        if device.type == "cpu":
            # Adam's memory of pixels that few digits light becomes so small, and then a step takes a quarter longer.
            torch.set_flush_denormal(True)
        self.specs = list(specs)
        self.data = data
        self._shared = _shared_part(self.specs)
        found = training_set(self._shared, data, device)
        self._pixels, self._images, self._labels = found.pixels, found.lit, found.labels
        self._validation = Digits(data.train.images[len(found.images) :], data.train.labels[len(found.images) :])
        self._device = device
        self._engine = engine or best_engine(self._shared, device)
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = self._shared.precision == "tf32"
        networks = (
            [first_network(spec, found.images) for spec in self.specs]
            if snapshots is None
            else _networks(self.specs, snapshots)
        )
        self._probe = Probe.of(found.images, found.labels, device)
        self._diagnosed = list(networks)
        self.failures: dict[int, LossNotFinite] = {}
        self.epoch = 0 if snapshots is None else snapshots[0].epoch
        self._build(list(range(len(specs))), networks)
        if snapshots is not None and self.epoch > 0:
            self._step.load_optimizer_state([snapshot.optimizer for snapshot in snapshots])

    @property
    def engine(self) -> str:
        """Return the name of the engine that takes the steps."""
        return self._step.engine

    @property
    def finished(self) -> bool:
        """Say whether all epochs of the spec are done."""
        return self.epoch >= self._shared.epochs

    @property
    def members(self) -> list[int]:
        """Return the indices of the models that are still in training."""
        return [member for slot, member in enumerate(self._slots) if slot not in self._step.masked]

    @property
    def images_per_epoch(self) -> int:
        """Return how many images one model sees in an epoch."""
        total, batch = len(self._labels), self._shared.batch_size
        return total - total % batch if self._shared.drop_last else total

    @property
    def steps_per_epoch(self) -> int:
        """Return how many steps an epoch takes."""
        return -(-self.images_per_epoch // self._shared.batch_size)

    def drop(self, index: int) -> None:
        """Train one model no further. It is left out from now on, and its place is given up when half have left."""
        self._step.masked.add(self._slots.index(index))

    def snapshot(self, index: int) -> Snapshot:
        """Return a copy of one model as it stands between two epochs."""
        slot = self._slots.index(index)
        optimizer = self._step.optimizer_state(slot) if self.epoch > 0 else {}
        return Snapshot(self.epoch, self._step.network(slot).to_weights(), optimizer)

    def running_loss(self, index: int, images: int) -> float:
        """Return the mean loss over the first `images` images of the epoch in progress, in nats an image."""
        return float(self._step.loss_sums[self._slots.index(index)]) / images

    def network(self, index: int) -> Network:
        """Return a copy of one network."""
        return self._step.network(self._slots.index(index))

    def diagnose(self, index: int) -> Diagnostics:
        """Return the statistics of one model's layers as it stands between two epochs, on the first training images.

        At the start also what theory predicts, and singular values at the start and the end. Trains nothing.
        """
        network, spec = self.network(index), self.specs[index]
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

    def evaluate(self, index: int) -> Evaluation:
        """Evaluate one model on the test part of the data, on the device it trains on."""
        return evaluate(self.network(index), self.data, self._device)

    def run_epoch(self, between_steps: BetweenSteps | None = None) -> dict[int, EpochMetrics]:
        """Train one epoch and return the metrics of every model that is still in training.

        `between_steps` is called after every few steps; what it raises ends the epoch and passes through, and the
        training must then be dropped. Models that diverge are left out and told in `failures`; raises
        the last one's `LossNotFinite` when none is left.
        """
        self._close_ranks()
        started, number = time.perf_counter(), self.epoch + 1
        orders, lrs = self._orders_of(number), self._lrs(number)

        def after_steps(done: int, losses: torch.Tensor | None) -> None:
            if losses is not None:
                self._check_losses(losses, number, done - len(losses), orders)
            if between_steps is not None:
                images = min(done * self._shared.batch_size, self.images_per_epoch)
                seconds = time.perf_counter() - started
                between_steps(StepProgress(number, done, self.steps_per_epoch, images, seconds))

        losses = self._loop.run(orders, lrs, after_steps).cpu()
        if self._device.type != "cpu":  # there the steps were looked at when they were taken
            self._check_losses(losses, number, 0, orders)
        loss_sums, hits = self._step.take_sums()
        seconds = time.perf_counter() - started
        self.epoch = number
        of_slots = losses.t().tolist()
        before = (number - 1) * self.steps_per_epoch
        return {
            member: self._metrics(member, loss_sums[slot], hits[slot], seconds, of_slots[slot], before)
            for slot, member in enumerate(self._slots)
            if slot not in self._step.masked
        }

    # -- the models in training ---------------------------------------------------------------------------

    def _build(self, members: list[int], networks: Sequence[Network]) -> None:
        """Put these models side by side, one a slot."""
        self._slots = members
        self._step = make_step(self._engine, networks, self._shared, self._device, self._pixels)
        self._loop: EpochLoop
        if isinstance(self._step, CapturableStep) and self._device.type == "cuda":
            batch, of_epoch = self._shared.batch_size, self.images_per_epoch
            self._loop = DeviceLoop(self._step, self._images, self._labels, batch, of_epoch)
        else:
            self._loop = HostLoop(self._step, self._images, self._labels, self._shared.batch_size)

    def _close_ranks(self) -> None:
        """Put those that are left side by side anew, if half or more have left."""
        members = self.members
        if not members or len(members) > len(self._slots) / 2:
            return
        slots = [self._slots.index(member) for member in members]
        networks = [self._step.network(slot) for slot in slots]
        states = [self._step.optimizer_state(slot) for slot in slots]
        del self._loop, self._step  # what they hold on a GPU is needed for those that take their place
        self._build(members, networks)
        self._step.load_optimizer_state(states)

    # -- one epoch ----------------------------------------------------------------------------------------

    def _lrs(self, epoch: int) -> list[float]:
        """Return the learning rate of each step: constant, or lr (1 - t / T) for step t = 0, ..., T - 1 of all."""
        lr, steps = self._shared.optimizer.lr, self.steps_per_epoch
        if self._shared.lr_schedule == "constant":
            return [lr] * steps
        total = self._shared.epochs * steps
        return [lr * (1 - ((epoch - 1) * steps + step) / total) for step in range(steps)]

    def _orders_of(self, epoch: int) -> torch.Tensor:
        """Return the rows each model sees in `epoch`, int64 [K, images_per_epoch], on the device."""
        orders = [
            torch.randperm(len(self._labels), generator=generator(self.specs[member].seed, "order", epoch))
            for member in self._slots
        ]
        return torch.stack([order[: self.images_per_epoch] for order in orders]).to(self._device)

    def _check_losses(self, losses: torch.Tensor, epoch: int, steps_before: int, orders: torch.Tensor) -> None:
        """Leave out the models whose loss [steps, K] is not finite; raise the last one's failure if none is left."""
        if math.isfinite(float(losses.sum())):
            return
        for row, slot in (~losses.isfinite()).nonzero().tolist():
            if slot in self._step.masked:
                continue
            step = steps_before + row + 1
            chosen = torch.split(orders, self._shared.batch_size, dim=1)[step - 1]
            failure = self._diverged(slot, float(losses[row, slot]), epoch, step, chosen)
            self.failures[self._slots[slot]] = failure
            self._step.masked.add(slot)
            if not self.members:
                raise copy(failure)  # the one that is kept would hold these frames alive by its traceback

    def _diverged(self, slot: int, loss: float, epoch: int, step: int, chosen: torch.Tensor) -> LossNotFinite:
        found = self._step.parameters.named(self._step.gradients_of(self._images, self._labels, chosen), slot)
        sizes = [_rms(layer.weight) for layer in self._step.network(slot).layers]
        weights = ", ".join(f"{size:.3g}" for size in sizes)
        gradients = ", ".join(f"{_rms(found[f'layers.{index}.weight']):.3g}" for index in range(len(sizes)))
        since = "" if self._device.type == "cpu" else " at the end of the epoch"
        return LossNotFinite(
            f"The loss became {loss} in epoch {epoch}, step {step}. Root mean squares by layer{since}, first to last: "
            f"weights {weights}; their gradients {gradients}.",
            "Use a smaller learning rate or a smaller initial scale.",
        )

    def _metrics(
        self, member: int, loss_sum: float, hits: int, seconds: float, losses: Sequence[float], steps_before: int
    ) -> EpochMetrics:
        images, shared = self.images_per_epoch, self._shared
        network = self.network(member) if shared.test_curve or shared.validation_images else None
        validation = (
            count(network, self._validation, self._device) if network is not None and shared.validation_images else None
        )
        on_test_set = network if shared.test_curve and self.data.evaluated_on == "mnist_test" else None
        return EpochMetrics(
            epoch=self.epoch,
            train_loss_mean=loss_sum / images,
            train_loss_last_batch=losses[-1],
            train_accuracy=hits / images,
            duration_s=seconds,
            images_per_s=images / seconds,
            first_step_below_2=_first_below(losses, steps_before),
            validation_loss=validation.mean_loss if validation and math.isfinite(validation.mean_loss) else None,
            validation_accuracy=validation.accuracy if validation else None,
            test_accuracy=count(on_test_set, self.data.test, self._device).accuracy if on_test_set else None,
        )


def train(
    specs: Sequence[TrainSpec],
    data: DataSet,
    device: torch.device,
    between_steps: BetweenSteps | None = None,
) -> Iterator[tuple[Training, dict[int, EpochMetrics]]]:
    """Train to the end; after every epoch yield the training and that epoch's metrics of each model, by its index."""
    training = Training(specs, data, device)
    while not training.finished:
        yield training, training.run_epoch(between_steps)


def _shared_part(specs: Sequence[TrainSpec]) -> TrainSpec:
    """Return the first spec if all differ from it only in how they are initialized and seeded."""
    if any(spec.shared_part != specs[0].shared_part for spec in specs[1:]):
        raise InvalidSpec("Models that are trained together may differ only in init, output_init and seed.")
    return specs[0]


def _rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def _first_below(losses: Sequence[float], steps_before: int) -> int | None:
    """Return the first step, counted over all epochs, at which the mean of the last few losses is below 2.0."""
    for end in range(SMOOTHED_STEPS, len(losses) + 1):
        if fmean(losses[end - SMOOTHED_STEPS : end]) < FIRST_BELOW_LOSS:
            return steps_before + end
    return None


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
