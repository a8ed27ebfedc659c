"""The order-chaos diagram, against published points, closed forms, and many drawn networks."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from models.diagnostics.correlation_map import activated
from models.diagnostics.gaussian_means import mean_of_square, mean_of_squared_slope
from models.diagnostics.phase import PhaseRequest
from models.diagnostics.phase_diagram import critical_line, fixed_points, phase_diagram
from models.vocabulary import Activation


def test_tanh_is_critical_where_schoenholz_et_al_found_it() -> None:
    """Schoenholz et al. 2017, section 3: sigma_w^2 = 1.76 at sigma_b^2 = .05; without biases it is 1."""
    line = critical_line("tanh")
    at = np.interp(0.05, [point.sigma_b**2 for point in line], [point.sigma_w**2 for point in line])
    assert at == pytest.approx(1.76, abs=0.005)
    assert line[0].sigma_w == pytest.approx(1, abs=1e-5)
    assert line[0].sigma_b == pytest.approx(0, abs=1e-5)


def test_a_rectifier_is_critical_at_hes_scale_alone() -> None:
    (point,) = critical_line("relu")
    assert point.sigma_w == pytest.approx(math.sqrt(2))
    assert point.sigma_b == 0
    assert phase_diagram(PhaseRequest(activation="sigmoid")).critical_line == []


@pytest.mark.parametrize("activation", ["tanh", "softsign", "selu"])
def test_on_the_line_chi_is_one_and_off_it_order_and_chaos_part(activation: Activation) -> None:
    line = critical_line(activation)[40:80:10]
    points = {side: ([one.sigma_w * side for one in line], [one.sigma_b for one in line]) for side in (0.98, 1, 1.02)}
    below, on, above = (fixed_points(activation, np.array(w), np.array(b)).chi for w, b in points.values())
    assert on == pytest.approx(1, abs=1e-3)
    assert (below < 1).all()
    assert (above > 1).all()


def test_rectifiers_have_the_fixed_points_of_their_linear_map() -> None:
    found = fixed_points("relu", np.array([1.0, 1.0, math.sqrt(2), math.sqrt(2), 2.0]), np.array([0.5, 0, 0, 0.1, 0]))
    assert found.q.tolist() == pytest.approx([0.25 / 0.5, 0, 1, math.inf, math.inf])
    assert found.chi[:3].tolist() == pytest.approx([0.5, 0.5, 1])
    assert np.isnan(found.chi[3:]).all()
    assert found.c[[0, 2]].tolist() == [1, 1]


def test_depth_scales_are_the_rates_at_which_the_maps_settle() -> None:
    """1 / xi = -ln of the slope at the fixed point: a small distance falls by exp(-1 / xi) a layer."""
    scales = (1.3, 2.0)
    found = fixed_points("tanh", np.array(scales), np.array([0.3, 0.3]))
    shown = phase_diagram(PhaseRequest(activation="tanh", sigma_w=scales, sigma_b=(0.3,)))
    for place, sigma_w in enumerate(scales):
        q, c = float(found.q[place]), float(found.c[place])
        moved = (_map(sigma_w, 0.3, q + 1e-4, 1.0)[0] - q) / 1e-4
        assert shown.xi_q[0][place] == pytest.approx(-1 / math.log(moved), rel=2e-2)
        off = 1e-3 if c < 0.99 else -1e-3
        moved = (_map(sigma_w, 0.3, q, c + off)[1] / q - c) / off
        assert shown.xi_c[0][place] == pytest.approx(-1 / math.log(moved), rel=2e-2)


def _map(sigma_w: float, sigma_b: float, q: float, c: float) -> tuple[float, float]:
    """Return q' and q' C of one layer of tanh units, by a sum over two normal variables."""
    nodes = (np.arange(900) - 449.5) * 0.02
    density = np.exp(-(nodes**2) / 2) * 0.02 / math.sqrt(2 * math.pi)
    u = np.sqrt(q) * nodes[:, None] + 0 * nodes
    v = np.sqrt(q) * (c * nodes[:, None] + math.sqrt(max(1 - c * c, 0)) * nodes)
    first, second = np.tanh(u), np.tanh(v)
    return (
        sigma_w**2 * float(density @ first**2 @ density) + sigma_b**2,
        sigma_w**2 * float(density @ (first * second) @ density) + sigma_b**2,
    )


TWENTY = [(w, b) for w in (0.7, 1.2, 1.8, 2.6, 3.5) for b in (0.05, 0.2, 0.5, 0.9)]


@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_networks_of_width_600_reach_the_fixed_points_of_20_places(activation: Activation) -> None:
    """Two inputs through 40 layers, at 20 places at once from the same normal draws.

    One layer's mean square over n = 600 units has a relative sd of at most sqrt(2 / n) = .058, and its correlation one
    of (1 - c^2) / sqrt(n) = .041 (1 - c^2). Later layers pull both back by V' and C', so that the deviations add up to
    at most sd / (1 - slope). The bounds are 5 of these. Places whose xi_c is over 10 have not settled after 40 layers.
    """
    width, stream = 600, torch.Generator().manual_seed(0)
    scales = [np.array(side) for side in zip(*TWENTY, strict=True)]
    found = fixed_points(activation, *scales)
    sigma_w, sigma_b = (torch.from_numpy(side)[:, None, None] for side in scales)
    z = torch.randn(20, width, 2, generator=stream, dtype=torch.float64)
    for _ in range(40):
        weight = torch.randn(width, width, generator=stream, dtype=torch.float64) / math.sqrt(width)
        bias = torch.randn(width, 1, generator=stream, dtype=torch.float64)
        z = sigma_w * (weight @ torch.from_numpy(activated(activation, z.numpy()))) + sigma_b * bias
    squares = z.square().mean((1, 2)).numpy()
    cosines = torch.nn.functional.cosine_similarity(z[:, :, 0], z[:, :, 1], dim=1).numpy()
    assert (np.abs(squares / found.q - 1) < 5 * 0.058 / (1 - found.v_slope)).all()
    settled = -1 / np.log(found.c_slope) < 10
    assert settled.sum() >= 12
    far = np.abs(cosines - found.c) > 5 * 0.041 * (1 - found.c**2) / (1 - found.c_slope) + 1e-3
    assert not (far & settled).any()


@pytest.mark.parametrize("activation", ["tanh", "gelu", "relu", "selu"])
def test_where_the_signal_dies_no_correlation_is_reached(activation: Activation) -> None:
    """Near 0 an activation is linear on each side, so that angles do not settle before the signal is gone."""
    found = fixed_points(activation, np.array([0.5]), np.array([0.0]))
    assert found.q.tolist() == [0]
    assert found.chi[0] < 1
    assert np.isnan(found.c).all()
    assert np.isnan(found.c_slope).all()


@pytest.mark.parametrize(
    ("activation", "sigma_w", "sigma_b"), [("selu", 1.36, 1.0), ("gelu", 1.44, 1.0), ("gelu", 1.42, 1.0)]
)
def test_a_signal_that_grows_slowly_without_end_is_unbounded(
    activation: Activation, sigma_w: float, sigma_b: float
) -> None:
    assert sigma_w**2 * mean_of_square(activation, 1e10) + sigma_b**2 > 1e10
    assert fixed_points(activation, np.array([sigma_w]), np.array([sigma_b])).q.tolist() == [math.inf]


def test_a_signal_that_settles_slowly_is_followed_to_its_end() -> None:
    found = fixed_points("selu", np.array([1.3]), np.array([1.0]))
    q = float(found.q[0])
    assert 1.3**2 * mean_of_square("selu", q) + 1 == pytest.approx(q, rel=1e-6)


def test_the_critical_line_has_the_points_that_layers_reach_alone() -> None:
    for activation in ("gelu", "tanh", "selu"):
        line = critical_line(activation)
        found = fixed_points(activation, np.array([p.sigma_w for p in line]), np.array([p.sigma_b for p in line]))
        assert found.q.tolist() == pytest.approx([point.q for point in line], rel=0.02)
    assert len(critical_line("gelu")) < len(critical_line("tanh"))


@pytest.mark.parametrize("q", [30.0, 100.0, 1000.0])
@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_steep_activations_are_summed_as_scipy_integrates_them(activation: Activation, q: float) -> None:
    def slope(z: float) -> float:
        return 1 / math.cosh(min(z, 300.0)) ** 2 if activation == "tanh" else 1 / (1 + z) ** 2

    def integrand(z: float) -> float:
        return slope(math.sqrt(q) * z) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    value = quad(integrand, 0, 1, limit=500)[0] + quad(integrand, 1, 12, limit=500)[0]
    assert mean_of_squared_slope(activation, q) == pytest.approx(2 * value, rel=1e-5)
    sigma_w = mean_of_squared_slope(activation, q) ** -0.5
    sigma_b = math.sqrt(max(q - sigma_w**2 * mean_of_square(activation, q), 0))
    assert fixed_points(activation, np.array([sigma_w]), np.array([sigma_b])).chi[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_has_a_whole_diagram(activation: Activation) -> None:
    found = phase_diagram(PhaseRequest(activation=activation, sigma_w=(0.5, 1.0, 3.0), sigma_b=(0.0, 0.5)))
    for line in range(2):
        for column in range(3):
            bounded = found.phase[line][column] != "unbounded"
            q, c, chi = (values[line][column] for values in (found.q, found.c, found.chi))
            assert (q is not None) == (chi is not None) == bounded
            assert (c is not None) == (bounded and q != 0 and (activation != "identity" or line == 1))
    assert found.phase[1][0] == "ordered"
    places = {place.scheme: place for place in found.schemes}
    assert places["he_normal"].sigma_w == pytest.approx(math.sqrt(2))
    assert places["glorot_standard"].sigma_w == pytest.approx(math.sqrt(1 / 3))
    assert places["torch_default"].sigma_b == pytest.approx(1 / math.sqrt(3 * 256))
    assert "zeros" not in places
