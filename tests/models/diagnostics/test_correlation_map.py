"""The correlation map, against a rule in two dimensions, closed forms, limits, and many drawn networks."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.correlation_map import activated, difference_of_products, lost
from models.diagnostics.gaussian_means import mean_of_square, mean_of_squared_slope
from models.diagnostics.measure import Probe, Start, diagnose
from models.init import SCHEMES, initialize
from models.init.by_fans import VarianceScaling
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.vocabulary import Activation


def by_double_sum(activation: Activation, q: float, difference: float) -> float:
    """Return E (phi(u) - phi(v))^2 / 2 by the midpoint rule over two independent normal variables."""
    nodes = (np.arange(1600) - 799.5) * 0.01
    density = np.exp(-(nodes**2) / 2) * 0.01 / math.sqrt(2 * math.pi)
    together, apart = math.sqrt(q * (1 - difference / 2)), math.sqrt(q * difference / 2)
    u = activated(activation, together * nodes[:, None] + apart * nodes)
    v = activated(activation, together * nodes[:, None] - apart * nodes)
    return float(density @ (u - v) ** 2 @ density) / 2


@pytest.mark.parametrize("difference", [1.0, 0.4, 0.01, 1e-4])
@pytest.mark.parametrize("q", [0.05, 1.0, 16.0])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_what_parts_two_images_is_that_of_a_double_sum(activation: Activation, q: float, difference: float) -> None:
    expected = by_double_sum(activation, q, difference)
    assert difference_of_products(activation, q, difference) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_slope_at_equal_images_is_chi_and_holds_down_to_1e_30(activation: Activation) -> None:
    """d/dc E phi(u) phi(v) at c = 1 is q E phi'^2 (Schoenholz et al. 2017, eq. 6)."""
    slope = 0.7 * mean_of_squared_slope(activation, 0.7)
    for difference in (1e-12, 1e-30):
        assert difference_of_products(activation, 0.7, difference) == pytest.approx(slope * difference, rel=1e-4)


def test_independent_images_keep_the_mean_alone() -> None:
    """At c = 0 E phi(u) phi(v) = (E phi)^2: for relu q / (2 pi)."""
    assert difference_of_products("relu", 3.0, 1.0) == pytest.approx(1.5 - 3 / (2 * math.pi), rel=1e-12)
    assert difference_of_products("tanh", 3.0, 1.0) == pytest.approx(mean_of_square("tanh", 3.0), rel=1e-6)
    assert difference_of_products("sigmoid", 3.0, 1.0) == pytest.approx(mean_of_square("sigmoid", 3.0) - 0.25, rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_the_closed_form_and_its_series_meet(activation: Activation) -> None:
    below, above = (difference_of_products(activation, 1.0, 1e-6 * side) / side for side in (0.999999, 1.000001))
    assert below == pytest.approx(above, rel=1e-7)


def test_powers_lose_what_they_should() -> None:
    orders = np.arange(4)
    assert lost(1.0, orders).tolist() == [0, 1, 1, 1]
    assert lost(0.5, orders).tolist() == pytest.approx([0, 0.5, 0.75, 0.875])
    assert lost(1e-25, orders).tolist() == pytest.approx([0, 1e-25, 2e-25, 3e-25])


CASES: list[tuple[Activation, str]] = [
    ("relu", "he_normal"),
    ("tanh", "xavier_uniform"),
    ("sigmoid", "xavier_uniform"),
    ("selu", "lecun_normal"),
]


@pytest.mark.parametrize(("activation", "name"), CASES)
def test_cosines_of_drawn_networks_are_the_predicted_ones(activation: Activation, name: str, few: DataSet) -> None:
    """Five networks of width 512, 5 layers: 1 - cosine within a quarter of the prediction in the mean.

    A width of 512 moves a correlation by about sqrt(2 / 512) = .06 of 1 - c a layer, which adds up over layers; images
    of different sizes have different q, and the map is not linear in the mean cosine.
    """
    architecture = Architecture(hidden=(512,) * 5, activation=activation)
    probe = Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))
    ratios = []
    for seed in range(5):
        network, scheme = Network.empty(architecture), SCHEMES[name]()  # type: ignore[call-arg]
        initialize(network, scheme, seed)
        for layer in diagnose(network, probe, epoch=0, start=Start(scheme, architecture)).layers[:5]:
            assert layer.z_cosine is not None
            assert layer.z_cosine_predicted is not None
            ratios.append((1 - layer.z_cosine) / (1 - layer.z_cosine_predicted))
    assert max(ratios) < 2
    assert min(ratios) > 0.5
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.25)


def test_random_biases_bring_images_together_as_predicted(few: DataSet) -> None:
    architecture = Architecture(hidden=(512,) * 4, activation="tanh")
    probe = Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))
    cosines = {}
    for std in (0.3, 0.9):
        network, scheme = Network.empty(architecture), VarianceScaling(bias="normal", bias_std=std)
        initialize(network, scheme, 0)
        assert float(network.layers[1].bias.std()) == pytest.approx(std, rel=0.2)  # 4 sd of a deviation of 512 draws
        last = diagnose(network, probe, epoch=0, start=Start(scheme, architecture)).layers[3]
        assert last.z_cosine is not None
        assert last.z_cosine_predicted is not None
        assert 1 - last.z_cosine == pytest.approx(1 - last.z_cosine_predicted, rel=0.4)
        cosines[std] = last.z_cosine
    assert cosines[0.9] > cosines[0.3]
