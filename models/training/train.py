"""Train one or many models at once, from specs to snapshots.

`Training` trains K models an epoch at a time; the caller stores checkpoints. Training on from a snapshot gives the bits
of an uninterrupted training, on the same device, thread count and versions: (seed, epoch) decide the order of images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy

import torch

from models.data.mnist import DataSet, Digits
from models.diagnostics.measure import Moment, Probe, Start, diagnose_all
from models.diagnostics.report import Diagnostics
from models.errors import InvalidSpec, LossNotFinite
from models.evaluation.evaluate import evaluate_all
from models.network.mlp import Network
from models.progress import StepProgress
from models.results import EpochMetrics, EvaluationRecord
from models.spec import TrainSpec
from models.training.divergence import Divergence, loss_not_finite, weight_sizes
from models.training.early_stopping import EarlyStopping
from models.training.engine import best_engine, make_step
from models.training.epoch_loops import DeviceLoop, EpochLoop, HostLoop
from models.training.epoch_metrics import curves_of, first_step_below, loss_curve, wants_curves
from models.training.schedule import Orders, learning_rates
from models.training.snapshot import Snapshot, networks_of
from models.training.step import CapturableStep
from models.training.training_set import training_set

BetweenSteps = Callable[[StepProgress], None]


class Training:
    """K models of equal architecture, optimizer, batch size, epochs and data, in training.

    If a model diverges, it is added to `failures`; if the caller drops one, it is removed. The others do not change.
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

        `engine` (None: the best) is one of `models.training.engine`. On a CPU the calling thread, and those that torch
        starts from it, flush numbers below 1.2e-38 to zero from now on. Raises `InvalidSpec` if the specs cannot be
        trained together or on this data, `EngineMissing` if the engine is not available.
        """
        if device.type == "cpu":
            # Adam's moments of pixels that few digits light become denormal, and then a step takes a quarter longer.
            torch.set_flush_denormal(True)
        self.specs = list(specs)
        self.data = data
        self._shared = _shared_part(self.specs)
        digits = training_set(self._shared, data, device)
        self._pixels, self._images, self._labels = digits.pixels, digits.lit, digits.labels
        self._validation = Digits(data.train.images[len(digits.images) :], data.train.labels[len(digits.images) :])
        self._device = device
        self._engine = engine or best_engine(self._shared, device)
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = self._shared.precision == "tf32"
        networks = (
            [spec.first_network(digits.images, digits.labels) for spec in self.specs]
            if snapshots is None
            else networks_of(self.specs, snapshots)
        )
        self._orders = Orders(len(self._labels), self.images_per_epoch, device)
        self._probe = Probe.of(digits.images, digits.labels, device)
        self._diagnosed = list(networks)
        self._fetched: dict[int, Network] = {}
        self._losses_before: torch.Tensor | None = None
        self._stopping = EarlyStopping(self._shared.patience)
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
        """Return whether every model still in training has ended."""
        return all(map(self.has_ended, self.members))

    def has_ended(self, index: int) -> bool:
        """Return whether a model has had all epochs of its spec, or is out of patience; it is then to be dropped."""
        return self.epoch >= self._shared.epochs or self._stopping.is_out_of_patience(index)

    def remember(self, index: int, metrics: Sequence[EpochMetrics]) -> None:
        """Take in the metrics of a model's epochs before the snapshot from which it continues, for its patience."""
        for one in metrics:
            self._stopping.take(index, one.epoch, one.validation_loss)

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
        """Stop training one model. It is masked from now on; its memory is freed when half of the models have left."""
        self._step.masked.add(self._slots.index(index))

    def snapshot(self, index: int) -> Snapshot:
        """Return a copy of one model as it stands between two epochs."""
        return self.snapshots([index])[0]

    def snapshots(self, indices: Sequence[int], *, to_resume: bool = True) -> list[Snapshot]:
        """Return copies of some models as they stand between two epochs, `to_resume` with the optimizer's state."""
        slots = [self._slots.index(index) for index in indices]
        has_state = to_resume and self.epoch > 0
        optimizers = self._step.optimizer_states(slots) if has_state else [{} for _ in slots]
        return [
            Snapshot(self.epoch, network.to_weights(), optimizer)
            for network, optimizer in zip(self.networks(indices), optimizers, strict=True)
        ]

    def running_loss(self, index: int, images: int) -> float:
        """Return the mean loss over the first `images` images of the epoch in progress, in nats an image."""
        return float(self._step.loss_sums[self._slots.index(index)]) / images

    def network(self, index: int) -> Network:
        """Return a copy of one network; see `networks`."""
        return self.networks([index])[0]

    def networks(self, indices: Sequence[int]) -> list[Network]:
        """Return copies of some networks, which are not to be changed: until the next epoch the same are returned."""
        missing = [index for index in indices if index not in self._fetched]
        slots = [self._slots.index(index) for index in missing]
        self._fetched |= dict(zip(missing, self._step.networks(slots) if slots else [], strict=True))
        return [self._fetched[index] for index in indices]

    def diagnose(self, index: int) -> Diagnostics:
        """Return the statistics of one model's layers; see `diagnose_all`."""
        return self.diagnose_all([index])[0]

    def diagnose_all(self, indices: Sequence[int]) -> list[Diagnostics]:
        """Return the statistics of some models' layers between two epochs, on the first training images.

        At the start they include theory's predictions; there, and where all these models have ended, singular values.
        They are computed on the training device, side by side.
        """
        networks, is_start = self.networks(indices), self.epoch == 0
        specs = [self.specs[index] for index in indices]
        starts = [Start(spec.init, spec.architecture, spec.output_init) for spec in specs] if is_start else None
        befores = None if is_start else [self._diagnosed[index] for index in indices]
        moment = Moment(self.epoch, is_start or all(map(self.has_ended, indices)), starts, befores)
        reports = diagnose_all(networks, self._probe, moment)
        for index, network in zip(indices, networks, strict=True):
            self._diagnosed[index] = network
        return reports

    def evaluate(self, index: int) -> EvaluationRecord:
        """Return the evaluation of one model; see `evaluate_all`."""
        return self.evaluate_all([index])[0]

    def evaluate_all(self, indices: Sequence[int]) -> list[EvaluationRecord]:
        """Return evaluations of some models on the test part of the data, computed on the training device."""
        return evaluate_all(self.networks(indices), self.data, self._device)

    def run_epoch(self, between_steps: BetweenSteps | None = None) -> dict[int, EpochMetrics]:
        """Train one epoch and return the metrics of every model that is still in training.

        `between_steps` is called after every few steps. If it raises, the epoch ends, the error passes through, and
        this object must be dropped. Models that diverge are added to `failures` and have no metrics; raises the last
        one's `LossNotFinite` when none is left.
        """
        self._restack()
        self._fetched = {}
        self._sizes, self._losses_before = weight_sizes(self._step.parameters), None
        started, number = time.perf_counter(), self.epoch + 1
        seeds = [self.specs[member].seed for member in self._slots]
        orders = self._orders.of(seeds, number, is_last=number == self._shared.epochs)
        lrs = learning_rates(self._shared, number, self.steps_per_epoch)

        def after_steps(done: int, losses: torch.Tensor | None) -> None:
            if losses is not None:
                self._check_losses(losses, number, done - len(losses))
            if between_steps is not None:
                images = min(done * self._shared.batch_size, self.images_per_epoch)
                seconds = time.perf_counter() - started
                between_steps(StepProgress(number, done, self.steps_per_epoch, images, seconds))

        losses = self._loop.run(orders, lrs, after_steps).cpu()
        if self._device.type != "cpu":  # on a CPU, `after_steps` has checked the losses
            self._check_losses(losses, number, 0)
        loss_sums, hits = self._step.take_sums()
        seconds = (time.perf_counter() - started) / (len(self.members) if self._device.type == "cpu" else 1)
        self.epoch = number
        of_slots = losses.t().tolist()
        before = (number - 1) * self.steps_per_epoch
        curves = dict(zip(self.members, self._curves(), strict=True))
        for member, curve in curves.items():
            self._stopping.take(member, number, curve.get("validation_loss"))
        return {
            member: EpochMetrics(
                epoch=number,
                train_loss_mean=loss_sums[slot] / self.images_per_epoch,
                train_loss_last_batch=of_slots[slot][-1],
                train_losses=loss_curve(of_slots[slot], self._shared.epochs),
                train_accuracy=hits[slot] / self.images_per_epoch,
                duration_s=seconds,
                images_per_s=self.images_per_epoch / seconds,
                first_step_below_2=first_step_below(of_slots[slot], before),
                **curves[member],
            )
            for slot, member in enumerate(self._slots)
            if slot not in self._step.masked
        }

    def _curves(self) -> list[dict[str, float | None]]:
        if not wants_curves(self._shared):
            return [{} for _ in self.members]
        return curves_of(self.networks(self.members), self._shared, self.data, self._validation, self._device)

    # -- the models in training ---------------------------------------------------------------------------

    def _build(self, members: list[int], networks: Sequence[Network]) -> None:
        """Stack these models, one per slot."""
        self._slots = members
        self._step = make_step(self._engine, networks, self._shared, self._device, self._pixels)
        self._loop: EpochLoop
        if isinstance(self._step, CapturableStep) and self._device.type == "cuda":
            batch, of_epoch = self._shared.batch_size, self.images_per_epoch
            self._loop = DeviceLoop(self._step, self._images, self._labels, batch, of_epoch)
        else:
            self._loop = HostLoop(self._step, self._images, self._labels, self._shared.batch_size)

    def _restack(self) -> None:
        """Stack the remaining models again, if half or more have left."""
        members = self.members
        if not members or len(members) > len(self._slots) / 2:
            return
        slots = [self._slots.index(member) for member in members]
        networks = [self._step.network(slot) for slot in slots]
        states = [self._step.optimizer_state(slot) for slot in slots]
        del self._loop, self._step  # their memory on a GPU is needed for the new ones
        self._build(members, networks)
        self._step.load_optimizer_state(states)

    # -- one epoch ----------------------------------------------------------------------------------------

    def _check_losses(self, losses: torch.Tensor, epoch: int, steps_before: int) -> None:
        """Mask the models whose loss [steps, K] is not finite; raise the last one's failure if none is left."""
        before, self._losses_before = self._losses_before, losses[-1].clone()
        if math.isfinite(float(losses.sum())):
            return
        for row, slot in (~losses.isfinite()).nonzero().tolist():
            if slot in self._step.masked:
                continue
            last = losses[row - 1] if row > 0 else before
            of_losses = float(losses[row, slot]), None if last is None else float(last[slot])
            sizes = self._sizes[slot].tolist()
            failure = loss_not_finite(Divergence(*of_losses, epoch, steps_before + row + 1, sizes))
            self.failures[self._slots[slot]] = failure
            self._step.masked.add(slot)
            if not self.members:
                raise copy(failure)  # a copy, since the traceback of the stored one would keep these frames alive


def train(
    specs: Sequence[TrainSpec], data: DataSet, device: torch.device, between_steps: BetweenSteps | None = None
) -> Iterator[tuple[Training, dict[int, EpochMetrics]]]:
    """Train to the end; after every epoch yield the training and that epoch's metrics of each model, by its index."""
    training = Training(specs, data, device)
    while not training.finished:
        yield training, training.run_epoch(between_steps)
        for index in filter(training.has_ended, training.members):
            training.drop(index)


def _shared_part(specs: Sequence[TrainSpec]) -> TrainSpec:
    """Return the first spec. Raises `InvalidSpec` if another differs in more than init, output_init and seed."""
    if any(spec.shared_part != specs[0].shared_part for spec in specs[1:]):
        raise InvalidSpec("Models that are trained together may differ only in init, output_init and seed.")
    return specs[0]
