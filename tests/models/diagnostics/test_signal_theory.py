"""Predictions of the forward and backward signal, against closed forms and against many drawn networks."""

from __future__ import annotations

import math

import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.measure import Probe, Start, diagnose
from models.diagnostics.signal_theory import Inputs, predict
from models.init import SCHEMES, initialize
from models.init.by_fans import HeNormal, LecunNormal, XavierUniform
from models.init.fixed_scale import Normal
from models.init.structured import Orthogonal
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.vocabulary import Activation, InputScaling

WIDTH, DEPTH = 512, 30
IMAGES = Inputs(100.0, 0.6)


def test_he_keeps_the_size_and_lecun_halves_its_square_at_every_rectified_layer() -> None:
    architecture = Architecture(hidden=(WIDTH,) * DEPTH)
    he, lecun = (predict(scheme, architecture, IMAGES) for scheme in (HeNormal(), LecunNormal()))
    assert he is not None
    assert lecun is not None
    assert he[29].z_rms == pytest.approx(he[0].z_rms, rel=1e-5)
    assert lecun[29].z_rms / lecun[0].z_rms == pytest.approx(2**-14.5, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("constant", "equal units"), ("identity", "no spread"), ("lsuv", "looks at data"), ("zeros", "equal units")],
)
def test_there_is_no_prediction_where_the_theory_does_not_hold(name: str, reason: str) -> None:
    assert predict(SCHEMES[name](), Architecture(), IMAGES) is None  # type: ignore[call-arg]
    assert predict(Normal(mean=0.1), Architecture(), IMAGES) is None
    assert predict(HeNormal(bias="constant", bias_value=1.0), Architecture(), IMAGES) is None


CASES: list[tuple[Activation, str, InputScaling]] = [
    ("relu", "he_normal", "zero_to_one"),
    ("relu", "xavier_uniform", "zero_to_one"),
    ("tanh", "xavier_uniform", "zero_to_one"),
    ("scaled_tanh", "lecun_normal", "standardized"),
    ("sigmoid", "xavier_uniform", "zero_to_one"),
    ("selu", "lecun_normal", "zero_to_one"),
    ("gelu", "he_uniform", "zero_to_one"),
]


@pytest.mark.parametrize(("activation", "name", "inputs"), CASES)
def test_predictions_hold_in_the_mean_over_networks(
    activation: Activation, name: str, inputs: InputScaling, few: DataSet
) -> None:
    """Ten networks of width 256, 8 layers: ln q walks with sd sqrt(5 L / n) = .4 at most, and drifts by -5 L / (2 n).

    The backward walk is as long. The mean of ten is within 4 standard errors and the drift.
    """
    architecture = Architecture(hidden=(256,) * 8, activation=activation, inputs=inputs)
    logs: list[list[float]] = [[], []]
    probe = Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))
    for seed in range(10):
        network, scheme = Network.empty(architecture), SCHEMES[name]()  # type: ignore[call-arg]
        initialize(network, scheme, seed)
        layers = diagnose(network, probe, epoch=0, start=Start(scheme, architecture)).layers
        last, first = layers[7], layers[0]
        assert last.z_rms is not None
        assert last.z_rms_predicted is not None
        assert first.dz_rms is not None
        assert first.dz_rms_predicted is not None
        logs[0].append(2 * math.log(last.z_rms / last.z_rms_predicted))
        logs[1].append(2 * math.log(first.dz_rms / first.dz_rms_predicted))
    bound = 4 * math.sqrt(5 * 8 / 256) / math.sqrt(10) + 5 * 8 / 512
    assert abs(sum(logs[0]) / 10) < bound, logs[0]
    assert abs(sum(logs[1]) / 10) < bound, logs[1]


@pytest.mark.parametrize("name", ["he_normal", "xavier_uniform", "lecun_normal", "torch_default"])
def test_the_local_law_holds_in_every_layer_however_deep(name: str, few: DataSet) -> None:
    """Width 512, 30 layers, 4 seeds: every layer within 5 sd, the mean of each network within 4 sd / sqrt(L)."""
    architecture = Architecture(hidden=(WIDTH,) * DEPTH)
    probe = Probe.of(torch.tensor(few.train.images[:8].reshape(-1, 784)), torch.tensor(few.train.labels[:8]))
    for seed in range(4):
        scheme = SCHEMES[name](bias="zeros")  # type: ignore[call-arg]
        network = Network.empty(architecture)
        initialize(network, scheme, seed)
        hidden = diagnose(network, probe, epoch=0, start=Start(scheme, architecture)).layers[:-1]
        deviations = [layer.local_z for layer in hidden if layer.local_z is not None]
        assert len(deviations) == DEPTH
        assert max(map(abs, deviations)) < 5
        assert abs(sum(deviations) / DEPTH) < 4 / math.sqrt(DEPTH)


def test_the_local_law_sees_a_wrong_variance(few: DataSet) -> None:
    architecture = Architecture(hidden=(WIDTH,) * DEPTH)
    probe = Probe.of(torch.tensor(few.train.images[:8].reshape(-1, 784)), torch.tensor(few.train.labels[:8]))
    network = Network.empty(architecture)
    initialize(network, XavierUniform(gain=1.2), 0)
    hidden = diagnose(network, probe, epoch=0, start=Start(XavierUniform(), architecture)).layers[:-1]
    deviations = [layer.local_z for layer in hidden if layer.local_z is not None]
    assert abs(sum(deviations) / DEPTH) > 4 / math.sqrt(DEPTH)


def test_orthogonal_layers_have_a_prediction_but_no_independent_entries(few: DataSet) -> None:
    architecture = Architecture(hidden=(64, 64))
    probe = Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))
    network, scheme = Network.empty(architecture), Orthogonal()
    initialize(network, scheme, 0)
    layer = diagnose(network, probe, epoch=0, start=Start(scheme, architecture), thorough=True).layers[1]
    assert layer.z_rms_predicted is not None
    assert layer.local_z is None
    assert layer.singular_min == pytest.approx(1, abs=1e-5)
    assert layer.singular_max == pytest.approx(1, abs=1e-5)
