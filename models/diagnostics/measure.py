"""Measure a network's layers on a fixed batch of training images, forward and backward; add theory's predictions.

The same code serves a preview of a scheme and the records of a training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.diagnostics.gaussian_means import slopes
from models.diagnostics.jacobian import jacobian_spectrum
from models.diagnostics.report import Diagnostics, LayerDiagnostics, verdict_on
from models.diagnostics.signal_theory import Inputs, Prediction, predict
from models.diagnostics.statistics import MAX_DECOMPOSED, distinct_rows, likeness, moments, singular_values_of
from models.init import SMALL_OUTPUT_STD
from models.init.laws import normal
from models.network.activations import ACTIVATIONS

if TYPE_CHECKING:
    from models.init import OutputInit
    from models.init.base import Scheme
    from models.init.laws import Law
    from models.network.architecture import Architecture
    from models.network.mlp import Layer, Network

PROBE_IMAGES = 512
QUANTILE_VALUES = 32_768
CPU = torch.device("cpu")
AT_THE_START = (
    "weight_std_predicted",
    "weight_variance_z",
    "z_rms_predicted",
    "z_cosine_predicted",
    "local_ratio",
    "local_z",
)
SATURATED = {"tanh": (-0.95, 0.95), "softsign": (-0.95, 0.95), "sigmoid": (0.05, 0.95)}


@dataclass(frozen=True)
class Probe:
    """The images that layers are measured on: float32 [n, 784] in [0, 1], and int64 labels [n], on one device."""

    inputs: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, device: torch.device = CPU) -> Probe:
        """Return the first `PROBE_IMAGES` of the training images, uint8 [n, 784], with their labels, on a device."""
        inputs = images[:PROBE_IMAGES].to(device, torch.float32, copy=True).div_(255.0)
        return cls(inputs, labels[:PROBE_IMAGES].to(device, torch.int64))

    @property
    def summary(self) -> Inputs:
        """Return what theory needs to know of the images."""
        return Inputs(float(self.inputs.square().sum(1).mean()), 1 - (likeness(self.inputs).cosine or 0.0))


@dataclass(frozen=True)
class Start:
    """How a network was filled, from which theory predicts its layers' statistics."""

    scheme: Scheme
    architecture: Architecture
    output_init: OutputInit = "same"


@dataclass(frozen=True)
class _Pass:
    """The results of a forward and a backward pass, by layer: inputs h [n, fan_in], z, a and dz [n, fan_out].

    dz is the gradient of each image's own loss. `weight_gradients` [fan_out, fan_in] and `bias_gradients` [fan_out] are
    of the batch's mean loss.
    """

    h: list[Tensor]
    z: list[Tensor]
    a: list[Tensor]
    dz: list[Tensor]
    weight_gradients: list[Tensor]
    bias_gradients: list[Tensor]
    loss: float


def diagnose(
    network: Network,
    probe: Probe,
    *,
    epoch: int,
    start: Start | None = None,
    before: Network | None = None,
    thorough: bool = False,
) -> Diagnostics:
    """Return the statistics of every layer of `network` (float32, CPU) on `probe`, computed on the probe's device.

    `start`, how the network has just been filled, adds what theory predicts. `before` is the network at the record
    before this one, for update ratios. `thorough` adds singular values.
    """
    network = network.to(probe.inputs.device)
    before = before.to(probe.inputs.device) if before else None
    seen = _passed(network, probe)
    predictions = None
    if start is not None:
        predictions = predict(start.scheme, start.architecture, probe.summary, start.output_init)
    layers = []
    for index in range(len(network.layers)):
        law = _law(start, network, index) if start is not None else None
        layer = _Measured(network, seen, index)
        prediction = predictions[index] if predictions else None
        centred = start is not None and start.scheme.bias == "zeros"
        values = layer.weights() | layer.signals() | layer.gradients() | layer.deviations(prediction, law, centred)
        values["dz_rms_predicted"] = prediction.dz_share * moments(seen.dz[-1]).rms if prediction else None
        values["update_ratio"] = _update_ratio(network.layers[index], before.layers[index]) if before else None
        values |= layer.singular_values() if thorough else {}
        layers.append(LayerDiagnostics(**{name: _finite(value) for name, value in values.items()}))
    return Diagnostics(
        epoch=epoch,
        images=len(probe.labels),
        loss=_finite(seen.loss),
        gradient_norm=_finite(_gradient_norm(seen)),
        jacobian=jacobian_spectrum(network, seen.z) if thorough else None,
        verdict=verdict_on(layers),
        layers=layers,
    )


def _passed(network: Network, probe: Probe) -> _Pass:
    kernels, last = ACTIVATIONS[network.activation], len(network.layers) - 1
    h, z, a = [probe.inputs], [], []
    for index, layer in enumerate(network.layers):
        z.append(torch.addmm(layer.bias, h[-1], layer.weight.t()))
        out = torch.empty_like(z[-1])
        if index < last:
            kernels.forward(z[-1].clone() if kernels.in_place else z[-1], out)
            h.append(out)
        a.append(out if index < last else z[-1])
    log_p = torch.log_softmax(z[-1], 1)
    loss = float(torch.nn.functional.nll_loss(log_p, probe.labels))
    dz = [log_p.exp()]
    dz[0][torch.arange(len(probe.labels), device=probe.labels.device), probe.labels] -= 1
    for index in range(last, 0, -1):
        below = dz[0] @ network.layers[index].weight
        kernels.backward(below, z[index - 1], a[index - 1], below)
        dz.insert(0, below)
    images = len(probe.labels)
    weight_gradients = [(gradient.t() @ below) / images for gradient, below in zip(dz, h, strict=True)]
    return _Pass(h, z, a, dz, weight_gradients, [gradient.sum(0) / images for gradient in dz], loss)


@dataclass(frozen=True)
class _Measured:
    """One layer in a pass."""

    network: Network
    seen: _Pass
    index: int

    @property
    def layer(self) -> Layer:
        return self.network.layers[self.index]

    @property
    def is_output(self) -> bool:
        return self.index == len(self.network.layers) - 1

    def weights(self) -> dict[str, float | int | None]:
        weight = self.layer.weight
        return {
            "layer": self.index + 1,
            "fan_in": weight.shape[1],
            "fan_out": weight.shape[0],
            "weight_mean": float(weight.mean()),
            "weight_std": float(weight.std()),
            "weight_absmax": float(weight.abs().max()),
            "bias_absmax": float(self.layer.bias.abs().max()),
            "distinct_units": distinct_rows(weight),
        }

    def signals(self) -> dict[str, float | None]:
        z, a = self.seen.z[self.index], self.seen.a[self.index]
        values = a.flatten()
        some = values[:: max(1, len(values) // QUANTILE_VALUES)]
        with np.errstate(invalid="ignore"):  # infinite values have no quantiles: the result is null
            low, middle, high = np.quantile(some.cpu().numpy(), [0.02, 0.5, 0.98]).tolist()
        of_z, of_a, alike = moments(z), moments(a), likeness(z)
        return {
            "z_mean": of_z.mean,
            "z_std": of_z.std,
            "z_rms": of_z.rms,
            "z_share": alike.share,
            "z_cosine": alike.cosine,
            "a_mean": of_a.mean,
            "a_std": of_a.std,
            "a_rms": of_a.rms,
            "a_q02": low,
            "a_q50": middle,
            "a_q98": high,
            "dead_fraction": self._dead(a),
            "saturated_fraction": self._saturated(a),
        }

    def _dead(self, a: Tensor) -> float | None:
        if self.is_output or self.network.activation != "relu":
            return None
        return float((a.amax(0) == 0).float().mean())

    def _saturated(self, a: Tensor) -> float | None:
        limits = SATURATED.get(self.network.activation)
        if self.is_output or limits is None:
            return None
        return float(((a < limits[0]) | (a > limits[1])).float().mean())

    def gradients(self) -> dict[str, float]:
        return {
            "dz_rms": moments(self.seen.dz[self.index]).rms,
            "weight_gradient_std": float(self.seen.weight_gradients[self.index].std()),
            "bias_gradient_std": float(self.seen.bias_gradients[self.index].std()),
        }

    def deviations(self, prediction: Prediction | None, law: Law | None, centred: bool) -> dict[str, float | None]:
        statistics: dict[str, float | None] = dict.fromkeys(AT_THE_START)
        weight = self.layer.weight
        if law is not None:
            statistics["weight_std_predicted"] = math.sqrt(law.variance)
            spread = math.sqrt((law.kurtosis - 1) / weight.numel())
            statistics["weight_variance_z"] = (float(weight.double().var()) / law.variance - 1) / spread
        if prediction is None:
            return statistics
        statistics["weight_std_predicted"] = math.sqrt(prediction.weight_variance)
        statistics["z_rms_predicted"] = prediction.z_rms
        if prediction.difference is not None:
            statistics["z_cosine_predicted"] = 1 - prediction.difference
        h, z = self.seen.h[self.index][0].double(), self.seen.z[self.index][0].double()
        squares = float(h.square().sum())
        if not centred or squares == 0 or prediction.weight_variance == 0:
            return statistics
        ratio = float(z.square().mean()) / (prediction.weight_variance * squares)
        statistics["local_ratio"] = ratio
        if law is not None:
            peaked = float(h.pow(4).sum()) / squares**2
            statistics["local_z"] = (ratio - 1) / math.sqrt((2 + (law.kurtosis - 3) * peaked) / len(z))
        return statistics

    def singular_values(self) -> dict[str, float | None]:
        weight = self.layer.weight
        if min(weight.shape) > MAX_DECOMPOSED or not torch.isfinite(weight).all():
            return {}
        values = singular_values_of(weight)
        statistics: dict[str, float | None] = {"singular_min": float(values.min()), "singular_max": float(values.max())}
        if not self.is_output:
            slope = slopes(self.network.activation, self.seen.z[self.index][0])
            lit = slope != 0  # the other rows are zero and add only singular values of zero
            jacobian = slope[lit, None] * weight[lit]
            if torch.isfinite(jacobian).all():
                statistics["jacobian_singular_mean"] = float(singular_values_of(jacobian).sum()) / min(weight.shape)
        return statistics


def _law(start: Start, network: Network, index: int) -> Law | None:
    fan_out, fan_in = network.layers[index].weight.shape
    if index < len(network.layers) - 1:
        return start.scheme.law(fan_in, fan_out, network.activation)
    if start.output_init == "same":
        return start.scheme.law(fan_in, fan_out, "identity")
    return normal(SMALL_OUTPUT_STD) if start.output_init == "small" else None


def _update_ratio(layer: Layer, before: Layer) -> float | None:
    size = float(before.weight.norm())
    return float((layer.weight - before.weight).norm()) / size if size else None


def _gradient_norm(seen: _Pass) -> float:
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in (*seen.weight_gradients, *seen.bias_gradients)))


def _finite(value: float | int | None) -> float | int | None:
    return value if value is not None and math.isfinite(value) else None
