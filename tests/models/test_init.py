"""The laws of the schemes: variance, mean, support, fans; and that mistakes in a formula would be seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import TypeAdapter

from models.init import SCHEMES, AnyScheme, initialize
from models.init.base import Generators, Scheme, gain_of
from models.init.closed_form import HeNormal, TorchDefault, XavierNormal, XavierUniform, Zeros
from models.mlp import Network
from models.spec import Activation, Architecture

FAN_IN, FAN_OUT = 300, 500
WITHIN_SD = 5.0  # one matrix in 1.7 million fails by chance


class Law(NamedTuple):
    """What the weights of a scheme should be: variance, kurtosis (3 normal, 1.8 uniform), largest magnitude."""

    variance: float
    kurtosis: float
    bound: float


def uniform_law(bound: float) -> Law:
    return Law(bound**2 / 3, 1.8, bound)


def normal_law(std: float) -> Law:
    return Law(std**2, 3.0, math.inf)


LAWS: dict[str, tuple[dict[str, Any], Law]] = {
    "normal": ({"std": 0.3}, normal_law(0.3)),
    "uniform": ({"low": -0.2, "high": 0.2}, uniform_law(0.2)),
    "xavier_uniform": ({}, uniform_law(math.sqrt(6 / (FAN_IN + FAN_OUT)))),
    "xavier_uniform gain 2": ({"gain": 2.0}, uniform_law(2 * math.sqrt(6 / (FAN_IN + FAN_OUT)))),
    "xavier_normal": ({}, normal_law(math.sqrt(2 / (FAN_IN + FAN_OUT)))),
    "he_uniform": ({}, uniform_law(math.sqrt(6 / FAN_IN))),
    "he_uniform fan_out": ({"mode": "fan_out"}, uniform_law(math.sqrt(6 / FAN_OUT))),
    "he_normal": ({}, normal_law(math.sqrt(2 / FAN_IN))),
    "he_normal fan_out": ({"mode": "fan_out"}, normal_law(math.sqrt(2 / FAN_OUT))),
    "he_normal slope": ({"negative_slope": 0.5}, normal_law(math.sqrt(2 / 1.25 / FAN_IN))),
    "torch_default": ({}, uniform_law(1 / math.sqrt(FAN_IN))),
}


def scheme_of(case: str) -> Scheme:
    return TypeAdapter(AnyScheme).validate_python({"scheme": case.split()[0], **LAWS[case][0]})


def deviations(weight: torch.Tensor, law: Law) -> tuple[float, float]:
    """Return how many standard deviations the sample's variance and mean are from the law's."""
    values = weight.double().flatten()
    count = values.numel()
    variance_z = (float(values.var()) / law.variance - 1) / math.sqrt((law.kurtosis - 1) / count)
    mean_z = float(values.mean()) / math.sqrt(law.variance / count)
    return variance_z, mean_z


def drawn(scheme: Scheme, seed: int = 0, activation: str = "relu") -> torch.Tensor:
    weight = torch.full((FAN_OUT, FAN_IN), torch.nan)
    scheme.fill_weight(weight, activation, Generators.of(seed).weights)
    return weight


@pytest.mark.parametrize("case", LAWS)
def test_weights_follow_the_law_of_their_scheme(case: str) -> None:
    law = LAWS[case][1]
    weight = drawn(scheme_of(case))
    variance_z, mean_z = deviations(weight, law)
    assert abs(variance_z) < WITHIN_SD
    assert abs(mean_z) < WITHIN_SD
    assert float(weight.abs().max()) <= law.bound


@pytest.mark.parametrize("case", LAWS)
@pytest.mark.parametrize(
    "mistake",
    [
        lambda weight: weight * math.sqrt(FAN_IN / FAN_OUT),  # the other fan
        lambda weight: weight * weight.std(),  # a variance taken for a standard deviation
        lambda weight: weight * math.sqrt(3),  # a standard deviation taken for a bound
        lambda weight: weight * math.sqrt(2),  # a forgotten gain
        lambda weight: weight + 0.1 * weight.std(),  # not centred
    ],
    ids=["other fan", "variance for deviation", "deviation for bound", "gain", "mean"],
)
def test_the_law_test_sees_the_usual_mistakes(case: str, mistake: Callable[[torch.Tensor], torch.Tensor]) -> None:
    deviation = max(abs(z) for z in deviations(mistake(drawn(scheme_of(case))), LAWS[case][1]))
    assert deviation > WITHIN_SD


def test_every_scheme_is_either_a_constant_or_has_a_law_here() -> None:
    assert {case.split()[0] for case in LAWS} | {"zeros", "constant"} == set(SCHEMES)


@pytest.mark.parametrize(("name", "value"), [("zeros", 0.0), ("constant", 0.01)])
def test_constant_schemes_set_every_weight(name: str, value: float) -> None:
    assert torch.equal(drawn(SCHEMES[name]()), torch.full((FAN_OUT, FAN_IN), value))  # type: ignore[call-arg]


@pytest.mark.parametrize("case", LAWS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(case: str) -> None:
    scheme = scheme_of(case)
    assert torch.equal(drawn(scheme, 1), drawn(scheme, 1))
    assert not torch.equal(drawn(scheme, 1), drawn(scheme, 2))


def test_two_equal_layers_get_different_weights() -> None:
    network = Network.empty(Architecture(hidden=(64, 64, 64)))
    initialize(network, XavierNormal(), seed=3)
    assert not torch.equal(network.layers[1].weight, network.layers[2].weight)


def test_auto_gain_follows_the_activation_and_leaves_the_output_layer_alone() -> None:
    plain, scaled = (Network.empty(Architecture(hidden=(64,), activation="tanh")) for _ in range(2))
    initialize(plain, XavierUniform(), seed=5)
    initialize(scaled, XavierUniform(gain="auto"), seed=5)
    torch.testing.assert_close(scaled.layers[0].weight, plain.layers[0].weight * 5 / 3)
    assert torch.equal(scaled.layers[1].weight, plain.layers[1].weight)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [("relu", math.sqrt(2)), ("tanh", 5 / 3), ("sigmoid", 1), ("softsign", 1), ("selu", 0.75), ("identity", 1)],
)
def test_gains_are_torchs(activation: Activation, gain: float) -> None:
    assert gain_of(activation) == pytest.approx(gain)


def test_the_gain_of_gelu_keeps_the_second_moment() -> None:
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    moment = torch.trapezoid(torch.nn.functional.gelu(z, approximate="tanh") ** 2 * density, z)
    assert gain_of("gelu") == pytest.approx(float(moment) ** -0.5, abs=1e-3)


def test_biases_start_at_zero_unless_asked_otherwise() -> None:
    network = Network.empty(Architecture())
    initialize(network, HeNormal(), seed=0)
    assert all(torch.equal(layer.bias, torch.zeros_like(layer.bias)) for layer in network.layers)
    initialize(network, HeNormal(bias="constant", bias_value=0.25), seed=0)
    assert all(bool((layer.bias == 0.25).all()) for layer in network.layers)


@pytest.mark.parametrize("scheme", [TorchDefault(), HeNormal(bias="torch_default")])
def test_torchs_biases_are_uniform_within_one_over_root_fan_in(scheme: Scheme) -> None:
    network = Network.empty(Architecture(hidden=(4000,)))
    initialize(network, scheme, seed=0)
    bias = network.layers[0].bias
    assert float(bias.abs().max()) <= 1 / 28
    variance_z, mean_z = deviations(bias, uniform_law(1 / 28))
    assert max(abs(variance_z), abs(mean_z)) < WITHIN_SD


def test_the_output_layer_can_start_small_or_at_zero_without_changing_the_others() -> None:
    networks = {option: Network.empty(Architecture(hidden=(64,))) for option in ("same", "small", "zeros")}
    for option, network in networks.items():
        initialize(network, HeNormal(), seed=1, output_init=option)  # type: ignore[arg-type]
    assert torch.equal(networks["same"].layers[0].weight, networks["small"].layers[0].weight)
    assert torch.equal(networks["same"].layers[0].weight, networks["zeros"].layers[0].weight)
    variance_z, mean_z = deviations(networks["small"].layers[1].weight, normal_law(0.01))
    assert max(abs(variance_z), abs(mean_z)) < WITHIN_SD
    assert not networks["zeros"].layers[1].weight.any()


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_fills_every_parameter_and_says_what_it_is(name: str) -> None:
    scheme = SCHEMES[name]
    network = Network.empty(Architecture(hidden=(7, 5)))
    initialize(network, scheme(), seed=0)  # type: ignore[call-arg]
    assert all(bool(torch.isfinite(tensor).all()) for layer in network.layers for tensor in (layer.weight, layer.bias))
    for text in (scheme.title, scheme.formula, scheme.formula_tex, scheme.source):
        assert text
    assert "W" in scheme.formula
    for field in scheme.model_fields.values():
        assert field.description or field.annotation is not None


def test_zeros_with_random_biases_must_be_asked_for() -> None:
    assert Zeros(bias="torch_default", break_symmetry_by_bias=True).bias == "torch_default"
