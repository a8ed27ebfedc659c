"""The laws of the schemes: moments, support, distribution, fans; and that mistakes in a formula would be seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from models.errors import InvalidSpec
from models.init import SCHEMES, AnyScheme, initialize
from models.init.base import Generators, Scheme, gain_of
from models.init.by_fans import HeNormal, TorchDefault, XavierNormal, XavierUniform
from models.init.constants import Zeros
from models.init.data_driven import Lsuv
from models.init.pretrained import Dbn
from models.init.structured import Orthogonal, SparseMartens, SparseTorch
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import TrainSpec
from models.vocabulary import Activation, InputScaling

FAN_IN, FAN_OUT = 300, 500
WITHIN_SD = 5.0  # one matrix in 1.7 million fails by chance
KOLMOGOROV_5_SD = 2.75
"""Above it sqrt(N) D of Kolmogorov's distribution is as rare as five deviations: 2 exp(-2 x^2) = 5.7e-7."""


class Law(NamedTuple):
    """What the weights of a scheme should be, worked out apart from the code."""

    variance: float
    kurtosis: float
    bound: float
    cdf: Callable[[torch.Tensor], torch.Tensor] | None


def uniform_law(bound: float) -> Law:
    return Law(bound**2 / 3, 1.8, bound, lambda x: ((x / bound + 1) / 2).clamp(0, 1))


def normal_law(std: float) -> Law:
    return Law(std**2, 3.0, math.inf, lambda x: (1 + torch.erf(x / std / math.sqrt(2))) / 2)


def cut_law(std: float) -> Law:
    """N(0, std^2) cut at two deviations: variance .7737, kurtosis 2.366 (integrals done by hand and by table)."""
    inside = 0.9544997361036416
    return Law(
        0.7737413 * std**2,
        2.3663,
        2 * std,
        lambda x: (torch.erf(x / std / math.sqrt(2)) / 2 / inside + 0.5).clamp(0, 1),
    )


def mixed_law(share: float, std: float) -> Law:
    """A share of N(0, std^2), the rest 0."""
    return Law(share * std**2, 3 / share, math.inf, None)


LAWS: dict[str, tuple[dict[str, Any], Law]] = {
    "normal": ({"std": 0.3}, normal_law(0.3)),
    "uniform": ({"low": -0.2, "high": 0.2}, uniform_law(0.2)),
    "trunc_normal": ({"std": 0.3}, cut_law(0.3)),
    "glorot_standard": ({}, uniform_law(1 / math.sqrt(FAN_IN))),
    "xavier_uniform": ({}, uniform_law(math.sqrt(6 / (FAN_IN + FAN_OUT)))),
    "xavier_uniform gain 2": ({"gain": 2.0}, uniform_law(2 * math.sqrt(6 / (FAN_IN + FAN_OUT)))),
    "xavier_normal": ({}, normal_law(math.sqrt(2 / (FAN_IN + FAN_OUT)))),
    "he_uniform": ({}, uniform_law(math.sqrt(6 / FAN_IN))),
    "he_uniform fan_out": ({"mode": "fan_out"}, uniform_law(math.sqrt(6 / FAN_OUT))),
    "he_normal": ({}, normal_law(math.sqrt(2 / FAN_IN))),
    "he_normal fan_out": ({"mode": "fan_out"}, normal_law(math.sqrt(2 / FAN_OUT))),
    "he_normal slope": ({"negative_slope": 0.5}, normal_law(math.sqrt(2 / 1.25 / FAN_IN))),
    "lecun_uniform": ({}, uniform_law(math.sqrt(3 / FAN_IN))),
    "lecun_normal": ({}, normal_law(math.sqrt(1 / FAN_IN))),
    "random_walk": ({}, normal_law(math.sqrt(2 / FAN_IN) * math.exp(1.2 / 297.6))),
    "sparse_torch": ({"sparsity": 0.9, "std": 0.3}, mixed_law(0.1, 0.3)),
    "sparse_martens": ({"connections": 15, "std": 2.0}, mixed_law(15 / FAN_IN, 2.0)),
    "variance_scaling fan_in": ({"scale": 3.0}, normal_law(math.sqrt(3 / FAN_IN))),
    "variance_scaling fan_out": (
        {"scale": 3.0, "mode": "fan_out", "distribution": "uniform"},
        uniform_law(3 / math.sqrt(FAN_OUT)),
    ),
    "variance_scaling fan_avg": (
        {"mode": "fan_avg", "distribution": "truncated_normal"},
        cut_law(math.sqrt(2 / (FAN_IN + FAN_OUT) / 0.7737413)),
    ),
    "torch_default": ({}, uniform_law(1 / math.sqrt(FAN_IN))),
}
ENTRIES_DEPEND = {"zeros", "constant", "identity", "orthogonal", "lsuv", "dbn"}
"""Schemes that have tests of their own below, because no draw is independent of the others."""


def scheme_of(case: str) -> Scheme:
    return TypeAdapter[Scheme](AnyScheme).validate_python({"scheme": case.split()[0], **LAWS[case][0]})


def deviations(weight: torch.Tensor, law: Law) -> dict[str, float]:
    """Return how far a sample is from a law: variance, mean and distribution in deviations, and the support."""
    values = weight.double().flatten()
    count = values.numel()
    found = {
        "variance": (float(values.var()) / law.variance - 1) / math.sqrt((law.kurtosis - 1) / count),
        "mean": float(values.mean()) / math.sqrt(law.variance / count),
        "support": math.inf if float(values.abs().max()) > law.bound * (1 + 1e-6) else 0.0,
    }
    if law.cdf is not None:
        ordered = values.sort().values
        steps = torch.arange(count + 1, dtype=torch.float64) / count
        expected = law.cdf(ordered)
        distance = torch.maximum((expected - steps[:-1]).abs().max(), (expected - steps[1:]).abs().max())
        found["distribution"] = float(distance) * math.sqrt(count) * WITHIN_SD / KOLMOGOROV_5_SD
    return found


def largest_deviation(weight: torch.Tensor, law: Law) -> float:
    return max(abs(one) for one in deviations(weight, law).values())


def drawn(scheme: Scheme, seed: int = 0, activation: str = "relu") -> torch.Tensor:
    weight = torch.full((FAN_OUT, FAN_IN), torch.nan)
    scheme.fill_weight(weight, activation, Generators.of(seed).weights)
    return weight


@pytest.mark.parametrize("case", LAWS)
def test_weights_follow_the_law_of_their_scheme(case: str) -> None:
    found = deviations(drawn(scheme_of(case)), LAWS[case][1])
    assert max(abs(one) for one in found.values()) < WITHIN_SD, found


@pytest.mark.parametrize("case", LAWS)
def test_a_scheme_says_the_variance_of_its_law(case: str) -> None:
    said = scheme_of(case).weight_variance(FAN_IN, FAN_OUT, "relu")
    assert said == pytest.approx(LAWS[case][1].variance, rel=1e-6)


BY_FANS = [case for case in LAWS if case.split()[0] not in ("normal", "uniform", "trunc_normal", "sparse_torch")]
MISTAKES: dict[str, Callable[[Scheme], torch.Tensor]] = {
    "the fans taken for each other": lambda scheme: _drawn_transposed(scheme),
    "a variance taken for a deviation": lambda scheme: drawn(scheme) * drawn(scheme).std(),
    "a deviation taken for a bound": lambda scheme: drawn(scheme) * math.sqrt(3),
    "a bound taken for a deviation": lambda scheme: drawn(scheme) / math.sqrt(3),
    "a forgotten gain": lambda scheme: drawn(scheme) / math.sqrt(2),
    "not centred": lambda scheme: drawn(scheme) + 0.1 * drawn(scheme).std(),
    "another distribution": lambda scheme: _of_another_kind(drawn(scheme)),
}


def _drawn_transposed(scheme: Scheme) -> torch.Tensor:
    """Draw as if fan-in were fan-out."""
    weight = torch.full((FAN_IN, FAN_OUT), torch.nan)
    scheme.fill_weight(weight, "relu", Generators.of(0).weights)
    return weight


def _of_another_kind(weight: torch.Tensor) -> torch.Tensor:
    """Return weights of the same mean and variance that are only two numbers."""
    return torch.where(weight > weight.median(), 1.0, -1.0) * weight.std()


def applies(mistake: str, case: str) -> bool:
    """Say whether a mistake changes what a case draws: some formulas are the same for both orders of the fans."""
    if mistake == "the fans taken for each other":
        return case in BY_FANS and not case.startswith(("xavier_", "variance_scaling fan_avg"))
    return mistake != "another distribution" or LAWS[case][1].cdf is not None


@pytest.mark.parametrize(
    ("mistake", "case"), [(mistake, case) for mistake in MISTAKES for case in LAWS if applies(mistake, case)]
)
def test_the_law_test_sees_the_usual_mistakes(mistake: str, case: str) -> None:
    assert largest_deviation(MISTAKES[mistake](scheme_of(case)), LAWS[case][1]) > WITHIN_SD


def test_the_table_of_schemes_is_whole_and_each_has_a_law_or_tests_of_its_own() -> None:
    named = {case.split()[0] for case in LAWS} | ENTRIES_DEPEND
    assert named == set(SCHEMES)
    assert len(named) == 21


TWINS: dict[str, Callable[[torch.Tensor, torch.Generator], object]] = {
    "xavier_uniform": lambda weight, stream: nn.init.xavier_uniform_(weight, generator=stream),
    "xavier_normal": lambda weight, stream: nn.init.xavier_normal_(weight, generator=stream),
    "he_uniform": lambda weight, stream: nn.init.kaiming_uniform_(weight, generator=stream),
    "he_normal": lambda weight, stream: nn.init.kaiming_normal_(weight, generator=stream),
    "torch_default": lambda weight, stream: nn.init.kaiming_uniform_(weight, math.sqrt(5), generator=stream),
    "orthogonal": lambda weight, stream: nn.init.orthogonal_(weight, generator=stream),
}


@pytest.mark.parametrize("name", TWINS)
def test_schemes_that_torch_has_give_torchs_bits(name: str) -> None:
    expected = torch.empty(FAN_OUT, FAN_IN)
    TWINS[name](expected, Generators.of(0).weights)
    assert torch.equal(drawn(SCHEMES[name]()), expected)  # type: ignore[call-arg]


CASES_OF_THE_GENERAL_LAW = {
    "glorot_standard": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
    "xavier_uniform": {"scale": 1, "mode": "fan_avg", "distribution": "uniform"},
    "xavier_normal": {"scale": 1, "mode": "fan_avg", "distribution": "normal"},
    "he_uniform": {"scale": 2, "mode": "fan_in", "distribution": "uniform"},
    "he_normal": {"scale": 2, "mode": "fan_in", "distribution": "normal"},
    "lecun_uniform": {"scale": 1, "mode": "fan_in", "distribution": "uniform"},
    "lecun_normal": {"scale": 1, "mode": "fan_in", "distribution": "normal"},
    "torch_default": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}


@pytest.mark.parametrize("name", CASES_OF_THE_GENERAL_LAW)
def test_named_schemes_are_cases_of_variance_scaling(name: str) -> None:
    general = SCHEMES["variance_scaling"](**CASES_OF_THE_GENERAL_LAW[name])
    torch.testing.assert_close(drawn(general), drawn(SCHEMES[name]()), rtol=1e-6, atol=0)  # type: ignore[call-arg]


@pytest.mark.parametrize(("name", "value"), [("zeros", 0.0), ("constant", 0.01)])
def test_constant_schemes_set_every_weight(name: str, value: float) -> None:
    assert torch.equal(drawn(SCHEMES[name]()), torch.full((FAN_OUT, FAN_IN), value))  # type: ignore[call-arg]


def test_the_identity_hands_on_what_it_gets_and_starts_further_units_at_zero() -> None:
    weight = drawn(SCHEMES["identity"](gain=2.0))  # type: ignore[call-arg]
    assert torch.equal(weight[:FAN_IN], 2 * torch.eye(FAN_IN))
    assert not weight[FAN_IN:].any()


@pytest.mark.parametrize("shape", [(400, 400), (FAN_OUT, FAN_IN), (FAN_IN, FAN_OUT)])
def test_an_orthogonal_weight_has_the_gain_as_its_only_singular_value(shape: tuple[int, int]) -> None:
    weight = torch.full(shape, torch.nan)
    Orthogonal(gain=1.5).fill_weight(weight, "relu", Generators.of(0).weights)
    assert float((torch.linalg.svdvals(weight.double()) - 1.5).abs().max()) < 1e-5
    expected = Orthogonal(gain=1.5).weight_variance(shape[1], shape[0], "relu")
    assert float(weight.square().mean()) == pytest.approx(expected, rel=1e-5)


def test_sparse_torch_leaves_an_equal_share_of_each_inputs_weights() -> None:
    weight = drawn(SparseTorch(sparsity=0.9))
    assert torch.equal((weight == 0).sum(0), torch.full((FAN_IN,), 450))


def test_sparse_martens_gives_every_unit_the_same_number_of_connections_at_its_own_places() -> None:
    weight = drawn(SparseMartens(connections=15))
    assert torch.equal((weight != 0).sum(1), torch.full((FAN_OUT,), 15))
    assert len(torch.unique((weight != 0).int(), dim=0)) == FAN_OUT
    values = weight[weight != 0]
    assert largest_deviation(values, normal_law(1.0)) < WITHIN_SD
    uses = (weight != 0).sum(0).double()  # binomial: 500 draws of 15 in 300
    assert float((uses - 25).abs().max()) < WITHIN_SD * math.sqrt(500 * 0.05 * 0.95)


def some_images(count: int = 600) -> torch.Tensor:
    return torch.randint(0, 256, (count, 784), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("activation", "inputs"),
    [
        ("relu", "zero_to_one"),
        ("tanh", "zero_to_one"),
        ("sigmoid", "zero_to_one"),
        ("scaled_tanh", "standardized"),
    ],
)
def test_lsuv_leaves_every_layers_outputs_with_unit_variance(activation: Activation, inputs: InputScaling) -> None:
    network = Network.empty(Architecture(hidden=(100, 80, 60), activation=activation, inputs=inputs))
    initialize(network, Lsuv(tolerance=0.01, max_iterations=20), seed=0, images=some_images())
    from models.network.activations import ACTIVATIONS

    h = some_images()[:512].float() / 255
    if inputs == "standardized":
        h = (h - 0.1307) / 0.3081
    for layer in network.layers:
        z = h @ layer.weight.t() + layer.bias
        assert float(z.var()) == pytest.approx(1, abs=0.011)
        h = torch.empty_like(z)
        ACTIVATIONS[activation].forward(z, h)


def test_lsuv_scales_what_weights_make_whatever_the_biases_add() -> None:
    plain, biased = (Network.empty(Architecture(hidden=(100, 80))) for _ in range(2))
    initialize(plain, Lsuv(), seed=0, images=some_images())
    initialize(biased, Lsuv(bias="normal", bias_std=2.0), seed=0, images=some_images())
    torch.testing.assert_close(biased.layers[0].weight, plain.layers[0].weight)
    assert float(biased.layers[1].weight.std()) > 0.02
    assert float(biased.layers[0].bias.std()) == pytest.approx(2, rel=0.3)


def test_lsuv_without_images_says_what_it_needs() -> None:
    with pytest.raises(InvalidSpec, match="needs 512 training images"):
        initialize(Network.empty(Architecture()), Lsuv(), seed=0, images=some_images(100))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"init": {"scheme": "sparse_torch", "sparsity": 1.0}}, "less than 1"),
        ({"init": {"scheme": "sparse_torch", "sparsity": -0.1}}, "greater than or equal to 0"),
        ({"init": {"scheme": "sparse_martens", "connections": 0}}, "greater than or equal to 1"),
        (
            {"init": {"scheme": "sparse_martens", "connections": 30}, "architecture": {"hidden": [20, 40]}},
            "more than the 20 inputs of layer 2; use 1 to 20",
        ),
        ({"init": {"scheme": "dbn"}}, "whose activation is sigmoid, not relu; use sigmoid"),
        ({"init": {"scheme": "dbn", "bias": "torch_default"}}, "come from pre-training"),
        (
            {"init": {"scheme": "dbn"}, "architecture": {"activation": "sigmoid", "inputs": "standardized"}},
            'use "inputs": "zero_to_one"',
        ),
        (
            {"init": {"scheme": "dbn"}, "architecture": {"hidden": [5000], "activation": "sigmoid"}},
            "limit of 4096",
        ),
        (
            {"init": {"scheme": "random_walk"}, "architecture": {"activation": "tanh"}},
            "gains for relu and identity only, not for tanh",
        ),
        ({"init": {"scheme": "xavier_uniform", "gain": 0}}, "greater than 0"),
        ({"init": {"scheme": "orthogonal", "gain": -1}}, "greater than 0"),
        ({"init": {"scheme": "uniform", "low": 1, "high": 0}}, "low must be less than high"),
        ({"init": {"scheme": "lsuv", "batch": 5000}, "data": "mnist_5k"}, "of which there are 4000"),
        ({"init": {"scheme": "variance_scaling", "scale": 0}}, "greater than 0"),
    ],
)
def test_bad_parameters_are_refused_with_the_range_and_the_reason(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainSpec.model_validate(fields)


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
    [
        ("relu", math.sqrt(2)),
        ("tanh", 5 / 3),
        ("sigmoid", 1),
        ("softsign", 1),
        ("scaled_tanh", 1),
        ("selu", 0.75),
        ("identity", 1),
    ],
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
    assert largest_deviation(bias, uniform_law(1 / 28)) < WITHIN_SD


def test_normal_biases_have_the_asked_deviation_and_leave_the_weights() -> None:
    network, plain = Network.empty(Architecture(hidden=(4000,))), Network.empty(Architecture(hidden=(4000,)))
    initialize(network, HeNormal(bias="normal", bias_std=0.3), seed=0)
    initialize(plain, HeNormal(), seed=0)
    assert largest_deviation(network.layers[0].bias, normal_law(0.3)) < WITHIN_SD
    assert torch.equal(network.layers[0].weight, plain.layers[0].weight)


def test_the_output_layer_can_start_small_or_at_zero_without_changing_the_others() -> None:
    networks = {option: Network.empty(Architecture(hidden=(64,))) for option in ("same", "small", "zeros")}
    for option, network in networks.items():
        initialize(network, HeNormal(), seed=1, output_init=option)  # type: ignore[arg-type]
    assert torch.equal(networks["same"].layers[0].weight, networks["small"].layers[0].weight)
    assert torch.equal(networks["same"].layers[0].weight, networks["zeros"].layers[0].weight)
    assert largest_deviation(networks["small"].layers[1].weight, normal_law(0.01)) < WITHIN_SD
    assert not networks["zeros"].layers[1].weight.any()


def some_fit(name: str) -> tuple[Scheme, Architecture]:
    """Return a small scheme of a kind and a network that it can start."""
    activation: Activation = "sigmoid" if name == "dbn" else "relu"
    small: dict[str, dict[str, Any]] = {"sparse_martens": {"connections": 3}, "dbn": {"rbm_epochs": 1}}
    return SCHEMES[name](**small.get(name, {})), Architecture(hidden=(7, 5), activation=activation)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_fills_every_parameter_and_says_what_it_is(name: str) -> None:
    scheme, architecture = some_fit(name)
    networks = [Network.empty(architecture) for _ in range(2)]
    for network in networks:
        initialize(network, scheme, seed=0, images=some_images())
    first, second = (network.to_weights() for network in networks)
    for tensor, twin in zip(first.values(), second.values(), strict=True):
        assert bool(torch.isfinite(torch.from_numpy(tensor)).all())
        assert (tensor == twin).all()
    for text in (scheme.title, scheme.formula, scheme.formula_tex, scheme.source):
        assert text
    for field in type(scheme).model_fields.values():
        assert field.description or field.annotation is not None


@pytest.mark.parametrize("name", SCHEMES)
def test_what_a_scheme_says_of_its_weights_is_what_it_draws(name: str) -> None:
    """Holds for every scheme in the table, those of tomorrow included: `law` and `weight_variance` are promises."""
    scheme, architecture = some_fit(name)
    if name in ("lsuv", "dbn"):
        assert scheme.weight_variance(FAN_IN, FAN_OUT, architecture.activation) is None
        return
    weight = drawn(scheme)
    law = scheme.law(FAN_IN, FAN_OUT, "relu")
    said = scheme.weight_variance(FAN_IN, FAN_OUT, "relu")
    if law is not None:
        kurtosis, (low, high) = law.kurtosis, law.support
        own = Law(law.variance, kurtosis, max(-low, high), law.cdf)
        assert largest_deviation(weight, own) < WITHIN_SD
    elif said is not None:
        assert float(weight.var()) == pytest.approx(said, rel=0.1, abs=1e-12)


def test_dbn_before_pretraining_starts_small() -> None:
    network = Network.empty(Architecture(hidden=(300,), activation="sigmoid"))
    Dbn(weight_std=0.02).fill_before(network, Generators.of(0))
    assert largest_deviation(network.layers[0].weight, normal_law(0.02)) < WITHIN_SD
    assert largest_deviation(network.layers[1].weight, normal_law(0.01)) < WITHIN_SD


def test_dbn_before_pretraining_is_what_its_machines_start_from() -> None:
    from models.pretrain.dbn import Pretraining

    scheme, network = Dbn(batch=10), Network.empty(Architecture(hidden=(6, 5), activation="sigmoid"))
    scheme.fill_before(network, Generators.of(3))
    pretraining = Pretraining(scheme.settings, (784, 6, 5), 3, some_images(), torch.device("cpu"))
    assert torch.equal(network.layers[0].weight, pretraining.machines[0].weight.t())


def test_zeros_with_random_biases_must_be_asked_for() -> None:
    assert Zeros(bias="torch_default", break_symmetry_by_bias=True).bias == "torch_default"


def test_he_uniform_with_torchs_slope_is_the_default_of_torchs_layers() -> None:
    spec = {"init": {"scheme": "he_uniform", "negative_slope": math.sqrt(5)}}
    found = TrainSpec.model_validate(spec).init.law(300, 100, "relu")
    expected = TrainSpec.model_validate({"init": {"scheme": "torch_default"}}).init.law(300, 100, "relu")
    assert found is not None
    assert expected is not None
    assert found.variance == pytest.approx(expected.variance) == pytest.approx(1 / (3 * 300))
