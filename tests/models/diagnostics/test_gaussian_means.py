"""Means over Gaussian pre-activations, against closed forms, another rule and numeric derivatives."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from models.diagnostics.gaussian_means import mean_of_square, mean_of_squared_slope, slopes
from models.network.activations import ACTIVATIONS
from models.vocabulary import Activation


@pytest.mark.parametrize("q", [0.01, 1.0, 25.0])
def test_a_rectifier_halves_both_moments(q: float) -> None:
    assert mean_of_square("relu", q) == pytest.approx(q / 2, rel=1e-12)
    assert mean_of_squared_slope("relu", q) == 0.5
    assert mean_of_square("leaky_relu", q) == pytest.approx(q * (1 + 1e-4) / 2, rel=1e-12)
    assert mean_of_squared_slope("leaky_relu", q) == pytest.approx((1 + 1e-4) / 2, rel=1e-12)
    assert mean_of_square("identity", q) == pytest.approx(q, rel=1e-12)


@pytest.mark.parametrize("q", [0.01, 1.0, 25.0])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_both_moments_are_those_of_gauss_rule_on_both_sides_of_the_kink(activation: Activation, q: float) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(400)
    z = torch.from_numpy(np.concatenate([4.5 * nodes - 4.5, 4.5 * nodes + 4.5]))
    density = torch.from_numpy(np.tile(4.5 * weights, 2)) * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    values = torch.empty_like(z)
    ACTIVATIONS[activation].forward(z * math.sqrt(q), values)
    slope = slopes(activation, z * math.sqrt(q))
    assert mean_of_square(activation, q) == pytest.approx(float(values.square() @ density), rel=1e-4)
    assert mean_of_squared_slope(activation, q) == pytest.approx(float(slope.square() @ density), rel=1e-3)


def test_selu_keeps_mean_square_one() -> None:
    """Klambauer et al. 2017: mean 0 and variance 1 are a fixed point of SELU."""
    assert mean_of_square("selu", 1.0) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_slopes_are_the_derivatives(activation: Activation) -> None:
    z = torch.tensor([-2.3, -0.7, 0.4, 1.9], dtype=torch.float64)

    def phi(at: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(at)
        ACTIVATIONS[activation].forward(at.clone(), out)
        return out

    numeric = (phi(z + 1e-6) - phi(z - 1e-6)) / 2e-6
    torch.testing.assert_close(slopes(activation, z), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_what_is_not_a_number_has_no_slope(activation: Activation) -> None:
    found = slopes(activation, torch.tensor([0.5, math.nan] * 20))  # many, so that vector instructions are used
    assert found[1::2].isnan().all()
    assert found[::2].isfinite().all()
