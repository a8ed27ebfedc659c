"""What is recorded of layers: against autograd and plain formulas; and the verdicts in words."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import nn

from models.data.mnist import DataSet
from models.diagnostics import measure
from models.diagnostics.measure import Moment, Probe, Start, diagnose, diagnose_all
from models.diagnostics.report import Diagnostics
from models.diagnostics.statistics import distinct_rows, likeness
from models.init import SCHEMES, initialize
from models.init.base import Scheme
from models.init.by_fans import HeNormal, LecunNormal, TorchDefault, XavierUniform
from models.init.constants import Constant, Zeros
from models.init.data_driven import Lsuv
from models.init.fixed_scale import Normal
from models.init.structured import Orthogonal
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, TrainSpec
from models.training.train import Training
from models.vocabulary import Activation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def probe(few: DataSet) -> Probe:
    return Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))


def look(probe: Probe, scheme: Scheme, *hidden: int, activation: Activation = "relu") -> Diagnostics:
    architecture = Architecture(hidden=hidden, activation=activation)
    network = Network.empty(architecture)
    initialize(network, scheme, 1, images=(probe.shares * 255).round().to(torch.uint8))
    return diagnose(network, probe, epoch=0, start=Start(scheme, architecture), thorough=True)


def test_statistics_are_those_of_autograd_and_plain_formulas(probe: Probe) -> None:
    architecture = Architecture(hidden=(40, 30), activation="tanh")
    network = Network.empty(architecture)
    initialize(network, XavierUniform(bias="torch_default"), 1)
    found = diagnose(network, probe, epoch=3)
    weights = [layer.weight.clone().requires_grad_() for layer in network.layers]
    biases = [layer.bias.clone().requires_grad_() for layer in network.layers]
    h, zs = probe.shares, []
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = h @ weight.t() + bias
        z.retain_grad()
        zs.append(z)
        h = torch.tanh(z) if index < 2 else z
    loss = nn.functional.cross_entropy(h, probe.labels)
    torch.autograd.backward(loss)
    assert found.epoch == 3
    assert found.images == len(probe.labels) == 400
    assert found.loss == pytest.approx(loss.item(), rel=1e-5)
    gradients = [one.grad for one in (*weights, *biases)]
    total = math.sqrt(sum(float(one.square().sum()) for one in gradients if one is not None))
    assert found.gradient_norm == pytest.approx(total, rel=1e-4)
    for layer, z, weight, bias in zip(found.layers, zs, weights, biases, strict=True):
        assert z.grad is not None
        assert weight.grad is not None
        assert bias.grad is not None
        assert layer.z_rms == pytest.approx(float(z.detach().square().mean().sqrt()), rel=1e-4)
        wide = z.detach().double()
        assert layer.z_share == pytest.approx(
            float(wide.var(0, correction=0).sum() / wide.square().mean(0).sum()), rel=1e-5
        )
        cosines = nn.functional.cosine_similarity(wide[:, None], wide[None], dim=2)
        assert layer.z_cosine == pytest.approx(float(cosines.sum() - 400) / (400 * 399), rel=1e-5)
        assert layer.z_std == pytest.approx(float(z.detach().std()), rel=1e-4)
        assert layer.dz_rms == pytest.approx(400 * float(z.grad.square().mean().sqrt()), rel=1e-4)
        assert layer.weight_gradient_std == pytest.approx(float(weight.grad.std()), rel=1e-3)
        assert layer.bias_gradient_std == pytest.approx(float(bias.grad.std()), rel=1e-3)
        assert layer.z_rms_predicted is None  # not the start
    assert found.layers[0].a_rms == pytest.approx(float(torch.tanh(zs[0].detach()).square().mean().sqrt()), rel=1e-4)
    assert found.layers[0].a_q98 == pytest.approx(float(torch.quantile(torch.tanh(zs[0].detach()), 0.98)), abs=0.02)


def test_the_jacobian_of_the_hidden_layers_is_that_of_autograd(probe: Probe) -> None:
    architecture = Architecture(hidden=(30, 28, 25), activation="tanh")
    network = Network.empty(architecture)
    initialize(network, XavierUniform(bias="torch_default"), 1)
    found = diagnose(network, probe, epoch=0, thorough=True).jacobian

    def last_by_first(h: torch.Tensor) -> torch.Tensor:
        for layer in network.layers[1:-1]:
            h = torch.tanh(layer.weight @ h + layer.bias)
        return h

    first = torch.tanh(network.layers[0].weight @ probe.shares[0] + network.layers[0].bias)
    values = torch.linalg.svdvals(torch.autograd.functional.jacobian(last_by_first, first))  # type: ignore[no-untyped-call]
    assert found is not None
    assert found.largest == pytest.approx(float(values[0]), rel=1e-4)
    assert found.least == pytest.approx(float(values[-1]), rel=1e-2)
    assert found.median == pytest.approx(float(values.median()), rel=1e-3)
    assert found.mean_square == pytest.approx(float(values.square().sum()) / 30, rel=1e-4)


def test_a_jacobian_that_overflows_is_not_recorded(probe: Probe) -> None:
    found = look(probe, Normal(std=1.0), *(64,) * 200, activation="identity")
    assert found.jacobian is None
    assert found.layers[3].z_cosine_predicted is not None


def test_orthogonal_weights_keep_every_direction_of_a_linear_network_and_gaussian_ones_do_not(probe: Probe) -> None:
    """A product of 20 Gaussian matrices has a largest singular value of about sqrt(20 e) = 7 (Pennington 2017)."""
    orthogonal, gaussian = (
        look(probe, scheme, *(200,) * 20, activation="identity").jacobian for scheme in (Orthogonal(), LecunNormal())
    )
    assert orthogonal is not None
    assert gaussian is not None
    assert [orthogonal.least, orthogonal.largest] == pytest.approx([1, 1], abs=1e-4)
    assert gaussian.largest > 5
    assert gaussian.median < 0.2


def test_dead_and_saturated_units_are_counted(probe: Probe) -> None:
    architecture = Architecture(hidden=(10,))
    network = Network.empty(architecture)
    initialize(network, HeNormal(), 1)
    network.layers[0].bias[:4] = -1e6
    assert diagnose(network, probe, epoch=1).layers[0].dead_fraction == pytest.approx(0.4)
    saturated = look(probe, Normal(std=5.0), 50, activation="tanh").layers[0]
    assert saturated.saturated_fraction is not None
    assert saturated.saturated_fraction > 0.8
    assert saturated.dead_fraction is None


def test_update_ratios_are_relative_to_the_record_before(few: DataSet) -> None:
    training = Training([TrainSpec(architecture=Architecture(hidden=(8,)), epochs=2, data="mnist_5k")], few, CPU)
    assert training.diagnose(0).layers[0].update_ratio is None
    for _ in range(2):
        before = training.network(0).layers[0].weight
        training.run_epoch()
        moved = float((training.network(0).layers[0].weight - before).norm() / before.norm())
        assert training.diagnose(0).layers[0].update_ratio == pytest.approx(moved, rel=1e-5)


def test_looking_changes_no_bit_of_the_training(few: DataSet) -> None:
    from models.checkpoint import weights_sha256

    hashes = []
    for looks in (True, False):
        training = Training([TrainSpec(architecture=Architecture(hidden=(8,)), epochs=2, data="mnist_5k")], few, CPU)
        while not training.finished:
            if looks:
                training.diagnose(0)
            training.run_epoch()
        hashes.append(weights_sha256(training.snapshot(0).weights))
    assert hashes[0] == hashes[1]


def test_what_is_not_finite_is_null_and_said(probe: Probe) -> None:
    found = look(probe, Normal(std=10.0), *(500,) * 24, activation="identity")
    assert found.loss is None
    assert found.layers[-1].z_rms is None
    assert "overflow" in found.verdict or "explodes" in found.verdict


def test_a_signal_too_large_for_an_activation_is_said_and_breaks_nothing(probe: Probe) -> None:
    found = look(probe, Normal(std=1.0), *(512,) * 30, activation="gelu")
    assert found.layers[-2].jacobian_singular_mean is None
    assert "signal explodes" in found.verdict


def test_a_large_gradient_has_a_norm_as_long_as_it_is_finite(probe: Probe) -> None:
    found = look(probe, Normal(std=2.0), *(256,) * 40, activation="tanh")
    first = found.layers[0].dz_rms
    assert first is not None
    assert first > 1e19, "its square is beyond float32"
    assert found.gradient_norm is not None
    assert found.gradient_norm > first


@pytest.mark.parametrize(
    ("scheme", "activation", "depth", "says"),
    [
        (HeNormal(), "relu", 30, "fine"),
        (XavierUniform(), "tanh", 5, "fine"),
        (XavierUniform(), "relu", 30, "signal dies: "),
        (TorchDefault(bias="zeros"), "relu", 30, "gradient dies: "),
        (XavierUniform(), "sigmoid", 5, "gradient dies: "),
        (Normal(std=1.0), "relu", 5, "signal explodes: "),
        (Zeros(), "relu", 2, "symmetry unbroken: the 256 units of layer 1 are one and the same; signal dies: none"),
        (Constant(), "relu", 2, "symmetry unbroken: the 256 units of layer 1"),
        (Normal(std=1.0), "tanh", 3, "saturated: "),
        (HeNormal(), "relu", 60, "images look alike: in layer 60 "),
        (
            Lsuv(batch=256),
            "sigmoid",
            30,
            "images look alike: in layer 30 less than 1e-12 of the signal differs between them",
        ),
        (Orthogonal(gain="auto"), "gelu", 30, "signal dies: "),
        (Normal(std=2.0), "tanh", 80, "gradient explodes: it overflows on its way to layer 1"),
    ],
)
def test_the_verdict_names_what_stands_in_the_way(
    scheme: Scheme, activation: Activation, depth: int, says: str, probe: Probe
) -> None:
    assert says in look(probe, scheme, *(256,) * depth, activation=activation).verdict


def test_equal_images_and_dead_layers_have_no_cosine_to_speak_of() -> None:
    rows = [torch.ones(2, 2), torch.zeros(2, 2), torch.full((2, 2), math.inf), torch.eye(2)]
    alike = likeness(torch.stack(rows))
    assert alike.share.tolist() == pytest.approx([0, math.nan, math.nan, 0.5], nan_ok=True)
    assert alike.cosine.tolist() == pytest.approx([1, math.nan, math.nan, 0], nan_ok=True)
    of_one_image = likeness(torch.ones(1, 1, 5))
    assert of_one_image.share == 0
    assert of_one_image.cosine.isnan()


@pytest.mark.parametrize("activation", get_args(Activation))
def test_networks_that_are_measured_together_have_the_statistics_of_each_alone(
    activation: Activation, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = Architecture(hidden=(30, 20, 10), activation=activation)
    schemes = [XavierUniform(), Zeros(), HeNormal(bias="torch_default"), Normal(std=10), Constant(), HeNormal()]
    starts = [Start(scheme, architecture) for scheme in schemes]
    networks = [Network.empty(architecture) for _ in schemes]
    for network, scheme in zip(networks, schemes, strict=True):
        initialize(network, scheme, 1)
    networks[3].layers[0].weight.mul_(1e38)
    networks[-1].layers[1].weight[3, 4] = math.nan  # as of a network that diverges
    befores = [network.to(CPU) for network in networks[::-1]]
    moment = Moment(0, thorough=True, starts=starts, befores=befores)
    monkeypatch.setitem(measure.VALUES_AT_ONCE, "cpu", 2**30)
    together = diagnose_all(networks, probe, moment)
    monkeypatch.setitem(measure.VALUES_AT_ONCE, "cpu", 4 * 400 * 70)
    in_parts = diagnose_all(networks, probe, moment)
    for index, found in enumerate(together):
        own = Moment(0, True, [starts[index]], [befores[index]])
        alone = diagnose_all([networks[index]], probe, own)[0]
        for other in (alone, in_parts[index]):
            assert other.verdict == found.verdict
            expected, values = (numbers(report) for report in (found, other))
            assert values == pytest.approx(expected, rel=2e-4, abs=1e-6, nan_ok=True)
    assert together[3].layers[0].z_rms is None
    assert together[0].layers[0].dz_rms is not None


def numbers(report: Diagnostics) -> list[float]:
    """Return all numbers of a report; NaN stands for null."""
    layers = [value for layer in report.layers for value in layer.model_dump().values()]
    spectrum = report.jacobian.model_dump().values() if report.jacobian else [None] * 4
    return [math.nan if value is None else value for value in (report.loss, report.gradient_norm, *spectrum, *layers)]


def test_symmetry_is_seen_after_training_too(few: DataSet) -> None:
    """A sigmoid network from zeros moves in every parameter, and stays one unit a layer."""
    architecture = Architecture(hidden=(32, 16), activation="sigmoid")
    spec = TrainSpec(architecture=architecture, init=Zeros(), optimizer=SGD(), epochs=2, data="mnist_5k")
    training = Training([spec], few, CPU)
    training.run_epoch()
    found = training.diagnose(0)
    assert [layer.distinct_units for layer in found.layers[:-1]] == [1, 1]
    assert found.layers[-1].distinct_units == 10
    assert "symmetry unbroken" in found.verdict


def test_rows_that_rounding_has_parted_are_one_and_others_are_not() -> None:
    row = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert distinct_rows(torch.stack([row, row * (1 + 1e-7), row])) == 1
    assert distinct_rows(torch.stack([row, row * 1.001, row])) == 2
    assert distinct_rows(torch.zeros(5, 3)) == 1
    assert distinct_rows(torch.randn(300, 20, generator=torch.Generator().manual_seed(0))) == 300


@pytest.mark.parametrize("name", ["xavier_normal", "glorot_standard"])
def test_layer_jacobians_are_those_that_glorot_and_bengio_report(name: str, probe: Probe) -> None:
    """Glorot, Bengio 2010, section 4.2: mean singular value about .8 for normalized, .5 for standard, with tanh."""
    layers = look(probe, SCHEMES[name](), *(300,) * 5, activation="tanh").layers[1:-1]  # type: ignore[call-arg]
    mean = sum(layer.jacobian_singular_mean or 0 for layer in layers) / len(layers)
    assert mean == pytest.approx(0.8 if name == "xavier_normal" else 0.5, abs=0.08)
