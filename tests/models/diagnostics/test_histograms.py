"""Histograms of the numbers in a layer, against NumPy and against laws that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.histograms import histogram, layer_distributions, unit_cosines
from models.diagnostics.measure import CPU, Probe
from models.init import initialize
from models.init.by_fans import XavierUniform
from models.init.constants import Constant
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.network.stack import NetworkStack


def test_every_number_is_counted_once() -> None:
    values = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    values[:10] = 0.0
    values[10, :7] = torch.tensor([float("inf"), float("-inf"), *[float("nan")] * 5])
    found = histogram(values)
    assert (found.zeros, found.not_finite) == (400, 7)
    assert sum(found.counts) == 2000 - 407
    rest = values[values.isfinite() & (values != 0)].double().numpy()
    low, high = np.sort(rest)[[1, -2]]
    assert (found.low, found.high) == (low, high), "one of the 1593 is below the range, and one above"
    expected, _ = np.histogram(rest.clip(low, high), bins=64, range=(low, high))
    assert np.abs(np.array(found.counts) - expected).sum() <= 2, "a number on an edge may be on either side"
    assert found.mean == pytest.approx(float(values[values.isfinite()].double().mean()))


def test_what_lies_far_outside_is_in_the_outer_bins() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(4))
    values[0], values[1] = 1e30, -1e30
    found = histogram(values)
    assert 2.5 < found.high < 4
    assert sum(found.counts) == 10_000
    assert found.counts[0] < 30
    assert found.counts[-1] < 30
    periodic = torch.ones(80_000)
    periodic[::8] = 5.0
    assert histogram(periodic).high == 5.0, "every number counts for the range, and not one in eight"


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_histogram_has_the_same_shape_at_any_scale(scale: float) -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(2))
    usual, scaled = histogram(values), histogram(values * scale)
    assert scaled.high == pytest.approx(usual.high * scale, rel=1e-5)
    assert np.abs(np.array(usual.counts) - np.array(scaled.counts)).sum() <= 8


@pytest.mark.parametrize(("value", "zeros"), [(0.0, 9), (-2.5, 0), (1e-30, 0)])
def test_equal_numbers_are_in_one_bin(value: float, zeros: int) -> None:
    found = histogram(torch.full((9,), value))
    assert found.zeros == zeros
    assert max(found.counts) == 9 - zeros
    assert found.low <= value <= found.high


def test_nothing_finite_has_no_mean() -> None:
    found = histogram(torch.full((3,), float("nan")))
    assert (found.mean, found.not_finite, sum(found.counts)) == (None, 3, 0)


def test_cosines_of_random_units_are_near_zero_and_of_equal_units_one() -> None:
    random = unit_cosines(torch.randn(100, 784, generator=torch.Generator().manual_seed(3)))
    assert random is not None
    assert sum(random.counts) == 100 * 99 // 2
    assert abs(random.mean or 0.0) < 5 / (784**0.5 * 4950**0.5), "of n directions the cosine's variance is 1 / n"
    equal = unit_cosines(torch.full((5, 7), 0.3))
    assert equal is not None
    assert equal.counts[-1] == 10
    assert equal.mean == pytest.approx(1.0)
    assert unit_cosines(torch.zeros(5, 7)) is None
    assert unit_cosines(torch.ones(1, 7)) is None
    assert unit_cosines(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])) is not None, "of the other two"


def test_layers_of_a_network_have_the_laws_that_they_were_drawn_from(few: DataSet) -> None:
    network = Network.empty(Architecture(hidden=(120, 60)))
    initialize(network, XavierUniform(), seed=5)
    probe = Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))
    first, second, output = layer_distributions(NetworkStack.of([network], CPU), probe)
    bound = (6 / (784 + 120)) ** 0.5
    assert -bound < first.weights.low < first.weights.high < bound
    counts = np.array(first.weights.counts)
    expected = counts.sum() / 64
    assert ((counts - expected) ** 2 / expected).sum() < 140, "chi-square with 63 degrees: uniform, but for the ends"
    images = len(probe.labels)
    assert first.activations.zeros + sum(first.activations.counts) == images * 120
    assert first.activations.zeros > 0.2 * images * 120, "ReLU"
    assert output.activations.zeros == 0
    assert sum(second.weight_gradients.counts) + second.weight_gradients.zeros == 120 * 60


def test_equal_units_are_seen_after_a_constant_start(few: DataSet) -> None:
    network = Network.empty(Architecture(hidden=(6, 4)))
    initialize(network, Constant(value=0.1), seed=1)
    probe = Probe.of(torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels))
    first = layer_distributions(NetworkStack.of([network], CPU), probe)[0]
    assert first.unit_cosines is not None
    assert first.unit_cosines.counts[-1] == 6 * 5 // 2
