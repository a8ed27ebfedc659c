"""Greedy pre-training of a deep belief network: one restricted Boltzmann machine after another, epoch by epoch.

Layer l learns from the hidden probabilities that the layers below compute from the images. Everything random is drawn
from (seed, number of the epoch), so that a pre-training that continues from a snapshot gives the same bits as an
uninterrupted one. The last images (at most a twentieth) are held out: the gap between their free energy and that of
training images shows overfitting (Hinton 2010, section 6).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from models.errors import InvalidSpec, LossNotFinite
from models.pretrain.batch_loop import BatchLoop
from models.pretrain.likelihood import pseudo_log_likelihood
from models.pretrain.rbm import RBM, CdStep, bernoulli_kl
from models.progress import StepProgress
from models.randomness import derived_seed, generator
from models.results import PretrainMetrics

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.network.mlp import Network

HELD_OUT_SHARE = 20
JUDGED_IMAGES = 1000
CHUNK_IMAGES = 5000


@dataclass(frozen=True)
class PretrainSnapshot:
    """All machines after `number` epochs, counted over all layers; tensors are named `rbm.{layer}.{name}`."""

    number: int
    tensors: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class RbmSettings:
    """How the machines are trained; `models.init.pretrained.Dbn` describes each value and its range."""

    rbm_epochs: int
    k: int
    last_visible: Literal["sampled", "mean_field"]
    lr: float
    batch: int
    momentum_at_first: float
    momentum: float
    momentum_switch: int
    weight_decay: float
    weight_std: float
    held_out: int
    shuffled: bool


class Pretraining:
    """The machines of one network, trained an epoch at a time."""

    def __init__(
        self,
        settings: RbmSettings,
        sizes: Sequence[int],
        seed: int,
        images: Tensor,
        device: torch.device,
        snapshot: PretrainSnapshot | None = None,
    ) -> None:
        """Start, or continue from a snapshot.

        `sizes` are the units of the input and of every hidden layer; `images` uint8 [N, 784]. Raises `InvalidSpec` if
        there are fewer training images than a batch.
        """
        held_out = min(settings.held_out, len(images) // HELD_OUT_SHARE)
        self.settings = settings
        self.epochs = settings.rbm_epochs * (len(sizes) - 1)
        self.number = 0
        self._seed = seed
        self.device = device
        self._learned = images[: len(images) - held_out].to(device)
        self._held_out = images[len(images) - held_out :].to(device)
        if len(self._learned) < settings.batch:
            raise InvalidSpec(f"dbn's batch of {settings.batch} is more than the {len(self._learned)} training images.")
        self.machines: list[RBM] = [
            RBM(below, above, device, samples_last=settings.last_visible == "sampled")
            for below, above in pairwise(sizes)
        ]
        self._stream = torch.Generator(device)
        self._totals = [torch.zeros((), device=device) for _ in range(2)]
        self._loop: tuple[tuple[int, float], BatchLoop] | None = None
        self._visible: Tensor = self._learned
        if snapshot is not None:
            self._load(snapshot)
        if not self.finished:
            self._enter_layer()

    @property
    def finished(self) -> bool:
        """Return whether every layer has had all its epochs."""
        return self.number >= self.epochs

    @property
    def layer(self) -> int:
        """Return the index of the machine that is trained next."""
        return self.number // self.settings.rbm_epochs

    @property
    def images_per_epoch(self) -> int:
        """Return the number of training images in an epoch; a smaller last batch is left out."""
        return len(self._learned) - len(self._learned) % self.settings.batch

    def run_epoch(self, between_steps: Callable[[StepProgress], None] | None = None) -> PretrainMetrics:
        """Train the current layer for one epoch, and return its metrics.

        `between_steps` is called after every few steps. If it raises, the error passes through, and this object must be
        dropped. Raises `LossNotFinite` if the machine diverges.
        """
        started = time.perf_counter()
        settings, machine = self.settings, self.machines[self.layer]
        epoch = self.number % settings.rbm_epochs + 1
        order = torch.randperm(len(self._learned), generator=generator(self._seed, "rbm_order", self.number))
        self._stream.manual_seed(derived_seed(self._seed, "rbm_samples", self.number))
        momentum = settings.momentum_at_first if epoch <= settings.momentum_switch else settings.momentum
        steps = self.images_per_epoch // settings.batch

        def after_steps(done: int) -> None:
            if between_steps is not None:
                seconds = time.perf_counter() - started
                between_steps(StepProgress(self.number + 1, done, steps, done * settings.batch, seconds))

        for total in self._totals:
            total.zero_()
        self._loop_with(momentum).run(order[: self.images_per_epoch].to(self.device), after_steps)
        self.number += 1
        error, activity = map(float, self._totals)
        metrics = self._metrics(machine, epoch, error, activity / steps, started)
        if epoch == settings.rbm_epochs and not self.finished:
            self._enter_layer()
        return metrics

    def snapshot(self) -> PretrainSnapshot:
        """Return a copy of everything that the next epoch depends on."""
        tensors = {
            f"rbm.{layer}.{name}": tensor
            for layer, machine in enumerate(self.machines)
            for name, tensor in machine.state().items()
        }
        return PretrainSnapshot(self.number, tensors)

    def fill(self, network: Network) -> None:
        """Copy the weights and hidden biases of the machines into the hidden layers of a network on the CPU.

        With `shuffled` each layer's weights are permuted among themselves, by the seed.
        """
        for number, (layer, machine) in enumerate(zip(network.layers, self.machines, strict=False)):
            layer.weight.copy_(machine.weight.t())
            layer.bias.copy_(machine.hidden_bias)
            if self.settings.shuffled:
                places = torch.randperm(layer.weight.numel(), generator=generator(self._seed, "rbm_shuffle", number))
                layer.weight.copy_(layer.weight.flatten()[places].view_as(layer.weight))

    # -- inside ------------------------------------------------------------------------------------------

    def _load(self, snapshot: PretrainSnapshot) -> None:
        self.number = snapshot.number
        for layer, machine in enumerate(self.machines):
            prefix = f"rbm.{layer}."
            machine.load(
                {name.removeprefix(prefix): data for name, data in snapshot.tensors.items() if name.startswith(prefix)}
            )

    def _enter_layer(self) -> None:
        """Prepare the data of the current layer, and its machine if this is its first epoch."""
        layer = self.layer
        self._visible, self._loop = self._learned, None  # those of the layer below are freed before the next are made
        if layer > 0:
            self._visible = self._through(self._learned, layer)
        if self.number % self.settings.rbm_epochs == 0:
            mean = torch.stack([self._floats(part).sum(0) for part in torch.split(self._visible, CHUNK_IMAGES)]).sum(0)
            stream = generator(self._seed, "rbm_weights", layer)
            self.machines[layer].start(self.settings.weight_std, mean / len(self._visible), stream)

    def _through(self, images: Tensor, layers: int) -> Tensor:
        """Return the hidden probabilities that the first `layers` machines compute from images."""
        width = images.shape[1] if layers == 0 else len(self.machines[layers - 1].hidden_bias)
        outputs = torch.empty((len(images), width), device=images.device)
        for part, out in zip(torch.split(images, CHUNK_IMAGES), torch.split(outputs, CHUNK_IMAGES), strict=True):
            h = self._floats(part)
            for machine in self.machines[:layers]:
                h = machine.hidden_probabilities(h)
            out.copy_(h)
        return outputs

    def _loop_with(self, momentum: float) -> BatchLoop:
        """Return the loop that trains the current machine, which a GPU captures once for each momentum."""
        key = (self.layer, momentum)
        if self._loop is None or self._loop[0] != key:
            machine, settings, floats = self.machines[self.layer], self.settings, self._floats
            options = CdStep(settings.k, settings.lr, momentum, settings.weight_decay)
            (error, activity), all_visible, stream = self._totals, self._visible, self._stream

            def step(chosen: Tensor) -> None:  # knows nothing of `self`, which it would keep alive in a circle
                visible = floats(all_visible.index_select(0, chosen))
                rebuilt, hidden = machine.step(visible, options, stream)
                error.add_(torch.nn.functional.mse_loss(rebuilt, visible, reduction="sum"))
                activity.add_(hidden.mean())

            changing = [*machine.tensors().values(), error, activity]
            self._loop = key, BatchLoop(step, changing, settings.batch, self.device, [self._stream])
        return self._loop[1]

    @staticmethod
    def _floats(values: Tensor) -> Tensor:
        return values.float().div_(255.0) if values.dtype == torch.uint8 else values

    def _free_energy_gap(self, machine: RBM, layer: int) -> float | None:
        """Return the mean free energy of held-out images minus that of as many learned ones; None if it is unknown."""
        if len(self._held_out) == 0:
            return None
        held_out, learned = (
            float(machine.free_energy(self._through(images, layer)).mean())
            for images in (self._held_out, self._learned[: len(self._held_out)])
        )
        return held_out - learned if math.isfinite(held_out - learned) else None

    def _judged(self, machine: RBM, layer: int) -> tuple[float | None, float | None]:
        """Return the KL divergence of one-step recreations from the actual, and the pseudo-log-likelihood."""
        stream = torch.Generator(self.device).manual_seed(derived_seed(self._seed, "rbm_judged", self.number))
        visible = self._through(self._learned[:JUDGED_IMAGES], layer)
        hidden = torch.rand(
            (len(visible), len(machine.hidden_bias)), generator=stream, device=self.device
        ) < machine.hidden_probabilities(visible)
        divergence = float(bernoulli_kl(visible, machine.visible_probabilities(hidden.float()))) / len(visible)
        found = divergence, pseudo_log_likelihood(machine, visible, stream)
        return found if all(map(math.isfinite, found)) else (None, None)

    def _metrics(self, machine: RBM, epoch: int, error: float, activity: float, started: float) -> PretrainMetrics:
        layer = (self.number - 1) // self.settings.rbm_epochs
        if not math.isfinite(error):
            raise LossNotFinite(
                f"The reconstruction error of layer {layer + 1} became {error} in epoch {epoch} of pre-training.",
                "Use a smaller init.lr or init.weight_std.",
            )
        seconds = time.perf_counter() - started
        divergence, likelihood = self._judged(machine, layer)
        return PretrainMetrics(
            number=self.number,
            layer=layer + 1,
            epoch=epoch,
            reconstruction_error=error / self.images_per_epoch,
            reconstruction_kl=divergence,
            pseudo_log_likelihood=likelihood,
            free_energy_gap=self._free_energy_gap(machine, layer),
            hidden_activity=activity,
            weight_std=float(machine.weight.std()),
            weight_absmax=float(machine.weight.abs().max()),
            update_ratio=float(machine.weight_velocity.norm() / machine.weight.norm()),
            duration_s=seconds,
            images_per_s=self.images_per_epoch / seconds,
        )
