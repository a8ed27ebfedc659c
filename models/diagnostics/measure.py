"""Measure networks' layers on a fixed batch of training images, forward and backward; add theory's predictions.

The same code serves a preview of a scheme and the records of a training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diagnostics.jacobian import jacobian_spectrum
from models.diagnostics.layer_statistics import OF_FIRST_IMAGE, LayerOfStack, passed
from models.diagnostics.report import Diagnostics, JacobianSpectrum, LayerDiagnostics, verdict_on
from models.diagnostics.signal_theory import Inputs, Prediction, predict
from models.diagnostics.statistics import distinct_rows, likeness
from models.init import SMALL_OUTPUT_STD
from models.init.laws import normal
from models.network.inputs import scaled
from models.network.stack import NetworkStack

if TYPE_CHECKING:
    from models.init import OutputInit
    from models.init.base import Scheme
    from models.init.laws import Law
    from models.network.architecture import Architecture
    from models.network.mlp import Network
    from models.vocabulary import InputScaling

PROBE_IMAGES = 512
VALUES_AT_ONCE = {"cpu": 1, "cuda": 2**23}
"""Pre-activations of the networks that a device measures together; at least one network. A pass keeps about 40 bytes
for each. A CPU is faster with one network at a time, which its caches hold."""
CPU = torch.device("cpu")
WHOLE, JACOBIAN = "whole", "jacobian"
UNLESS_MEASURED = (
    *("weight_std_predicted", "weight_variance_z", "z_rms_predicted", "z_cosine_predicted", "local_ratio", "local_z"),
    *("dz_rms_predicted", "dead_fraction", "saturated_fraction", "update_ratio"),
)
"""Fields of a layer that are null where there is nothing to measure or to predict."""


@dataclass(frozen=True)
class Probe:
    """The images that layers are measured on: shares of ink float32 [n, 784] in [0, 1], and int64 labels [n]."""

    shares: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, device: torch.device = CPU) -> Probe:
        """Return the first `PROBE_IMAGES` of the training images, uint8 [n, 784], with their labels, on a device."""
        shares = images[:PROBE_IMAGES].to(device, torch.float32, copy=True).div_(255.0)
        return cls(shares, labels[:PROBE_IMAGES].to(device, torch.int64))

    def summary(self, scaling: InputScaling) -> Inputs:
        """Return what theory needs to know of the images, as a first layer receives them."""
        inputs = scaled(self.shares, scaling)
        cosine = float(likeness(inputs[None]).cosine)
        return Inputs(float(inputs.square().sum(1).mean()), 1 - (cosine if math.isfinite(cosine) else 0.0))


@dataclass(frozen=True)
class Start:
    """How a network was filled, from which theory predicts its layers' statistics."""

    scheme: Scheme
    architecture: Architecture
    output_init: OutputInit = "same"


@dataclass(frozen=True)
class Moment:
    """When networks are measured, and what is measured then.

    `thorough` adds singular values. `starts`, how each network has just been filled, add what theory predicts.
    `befores` are the networks at the record before this one, for update ratios.
    """

    epoch: int
    thorough: bool = False
    starts: Sequence[Start] | None = None
    befores: Sequence[Network] | None = None


def diagnose(
    network: Network,
    probe: Probe,
    *,
    epoch: int,
    start: Start | None = None,
    before: Network | None = None,
    thorough: bool = False,
) -> Diagnostics:
    """Return the statistics of every layer of one network; see `Moment` and `diagnose_all`."""
    moment = Moment(epoch, thorough, [start] if start else None, [before] if before else None)
    return diagnose_all([network], probe, moment)[0]


def diagnose_all(networks: Sequence[Network], probe: Probe, moment: Moment) -> list[Diagnostics]:
    """Return the statistics of every layer of networks of one architecture (float32, CPU) on `probe`.

    They are computed on the probe's device, with as many networks at once as its memory should hold.
    """
    values = len(probe.labels) * sum(len(layer.bias) for layer in networks[0].layers)
    at_once = max(1, VALUES_AT_ONCE[probe.shares.device.type] // values)
    parts = [slice(first, first + at_once) for first in range(0, len(networks), at_once)]
    found = [one for part in parts for one in _measured(networks, part, probe, moment)]
    theories = _theories(moment.starts, probe) if moment.starts else [None] * len(networks)
    return [
        Diagnostics(
            epoch=moment.epoch,
            images=len(probe.labels),
            loss=_finite(own[WHOLE]["loss"]),
            gradient_norm=_finite(own[WHOLE]["gradient_norm"]),
            jacobian=_spectrum(own.get(JACOBIAN)),
            verdict=verdict_on(layers),
            layers=layers,
        )
        for own, layers in (
            (own, _layers(network, own, theory)) for network, own, theory in zip(networks, found, theories, strict=True)
        )
    ]


# -- what is measured ------------------------------------------------------------------------------------

Numbers = dict[str, float]
ByGroup = dict[str, Numbers]
"""Numbers by name: of each layer, whose group is its number from 0, of the whole network, and of its Jacobian."""


def _measured(networks: Sequence[Network], part: slice, probe: Probe, moment: Moment) -> list[ByGroup]:
    device = probe.shares.device
    stack = NetworkStack.of(networks[part], device)
    before = NetworkStack.of(moment.befores[part], device) if moment.befores else None
    seen = passed(stack, probe.shares, probe.labels)
    groups: dict[str, dict[str, Tensor]] = {WHOLE: {"loss": seen.loss, "gradient_norm": seen.gradient_norm()}}
    for number in range(len(stack.weights)):
        layer = LayerOfStack(stack, seen, number)
        statistics = layer.weights() | layer.signals() | layer.gradients()
        statistics |= layer.of_first_image() if moment.starts else {}
        statistics |= layer.change_since(before) if before else {}
        groups[str(number)] = statistics | (layer.singular_values() if moment.thorough else {})
    spectrum = jacobian_spectrum(stack, seen.z) if moment.thorough else None
    return _fetched(groups if spectrum is None else groups | {JACOBIAN: spectrum}, len(stack))


def _fetched(groups: Mapping[str, Mapping[str, Tensor]], count: int) -> list[ByGroup]:
    """Return the statistics [K] of K networks as numbers of each, by one copy from their device."""
    columns = torch.stack([values.double() for group in groups.values() for values in group.values()]).cpu().t()
    found = []
    for row in columns.tolist():
        values = iter(row)
        found.append({name: {field: next(values) for field in group} for name, group in groups.items()})
    assert len(found) == count
    return found


def _spectrum(numbers: Numbers | None) -> JacobianSpectrum | None:
    is_known = numbers is not None and all(map(math.isfinite, numbers.values()))
    return JacobianSpectrum(**numbers) if is_known and numbers is not None else None


# -- theory, and the report ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Theory:
    """How a network was filled, and what is predicted of its layers; None if the theory does not apply."""

    start: Start
    predictions: Sequence[Prediction] | None

    def law_of(self, number: int, fan_in: int, fan_out: int) -> Law | None:
        start = self.start
        if number < len(start.architecture.sizes) - 2:
            return start.scheme.law(fan_in, fan_out, start.architecture.activation)
        if start.output_init == "same":
            return start.scheme.law(fan_in, fan_out, "identity")
        return normal(SMALL_OUTPUT_STD) if start.output_init == "small" else None


def _theories(starts: Sequence[Start], probe: Probe) -> list[_Theory | None]:
    """Return the theory of each start; equal ones, as of one scheme with many seeds, are computed once."""
    summary = probe.summary(starts[0].architecture.inputs)
    known: list[_Theory] = []
    theories: list[_Theory | None] = []
    for start in starts:
        same = next((theory for theory in known if theory.start == start), None)
        if same is None:
            same = _Theory(start, predict(start.scheme, start.architecture, summary, start.output_init))
            known.append(same)
        theories.append(same)
    return theories


def _layers(network: Network, found: ByGroup, theory: _Theory | None) -> list[LayerDiagnostics]:
    reports = []
    output_dz = found[str(len(network.layers) - 1)]["dz_rms"]
    for number, layer in enumerate(network.layers):
        fan_out, fan_in = layer.weight.shape
        measured = dict(found[str(number)])
        values: dict[str, float | None] = dict.fromkeys(UNLESS_MEASURED)
        all_distinct = measured.pop("all_distinct")
        if theory is not None:
            raw = {name: measured.pop(name) for name in OF_FIRST_IMAGE}
            values |= _deviations(raw, theory, number, (fan_in, fan_out))
            if theory.predictions is not None:
                values["dz_rms_predicted"] = theory.predictions[number].dz_share * output_dz
        reports.append(
            LayerDiagnostics(
                layer=number + 1,
                fan_in=fan_in,
                fan_out=fan_out,
                distinct_units=fan_out if all_distinct else distinct_rows(layer.weight),
                **{name: _finite(value) for name, value in (values | measured).items()},
            )
        )
    return reports


def _deviations(raw: Numbers, theory: _Theory, number: int, fans: tuple[int, int]) -> dict[str, float | None]:
    """Return what theory predicts of a layer, and how far from it the layer's draw is; see `LayerDiagnostics`."""
    values: dict[str, float | None] = {}
    law = theory.law_of(number, *fans)
    if law is not None:
        values["weight_std_predicted"] = math.sqrt(law.variance)
        spread = math.sqrt((law.kurtosis - 1) / math.prod(fans))
        values["weight_variance_z"] = (raw["weight_variance"] / law.variance - 1) / spread
    if theory.predictions is None:
        return values
    prediction = theory.predictions[number]
    values["weight_std_predicted"] = math.sqrt(prediction.weight_variance)
    values["z_rms_predicted"] = prediction.z_rms
    values["z_cosine_predicted"] = None if prediction.difference is None else 1 - prediction.difference
    squares = raw["h_squares"]
    if theory.start.scheme.bias != "zeros" or squares == 0 or prediction.weight_variance == 0:
        return values
    values["local_ratio"] = ratio = raw["z_mean_square"] / (prediction.weight_variance * squares)
    if law is not None:
        peaked = raw["h_fourth_powers"] / squares**2
        values["local_z"] = (ratio - 1) / math.sqrt((2 + (law.kurtosis - 3) * peaked) / fans[1])
    return values


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
