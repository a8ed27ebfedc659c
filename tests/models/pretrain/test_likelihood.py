"""log Z and likelihoods, against enumeration of all states."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from models.pretrain.likelihood import annealed_log_z, exact_log_z, log_z, pseudo_log_likelihood
from models.pretrain.rbm import RBM, bernoulli_kl

CPU = torch.device("cpu")


def machine(visible: int, hidden: int, scale: float = 1.0) -> RBM:
    stream = torch.Generator().manual_seed(3)
    made = RBM(visible, hidden, CPU)
    for tensor in (made.weight, made.visible_bias, made.hidden_bias):
        tensor.normal_(0.0, scale, generator=stream)
    return made


def all_states(units: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)))


@pytest.mark.parametrize("hidden", [1, 5, 14])
def test_log_z_is_the_sum_over_all_visible_states(hidden: int) -> None:
    made = machine(10, hidden)
    expected = float(torch.logsumexp(-made.free_energy(all_states(10)).double(), 0))
    assert exact_log_z(made) == pytest.approx(expected, rel=1e-6)
    found = log_z(made, torch.zeros(10), chains=10, temperatures=100, stream=torch.Generator())
    assert (found.method, found.low, found.high) == ("exact", found.value, found.value)


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_annealed_chains_find_the_log_z_of_a_machine_that_can_be_summed(scale: float) -> None:
    """Twelve visible units, 30 hidden ones: the sum over visible states within the interval, and within .1 nats."""
    made = machine(12, 30, scale)
    expected = float(torch.logsumexp(-made.free_energy(all_states(12)).double(), 0))
    stream = torch.Generator().manual_seed(0)
    found = annealed_log_z(made, torch.zeros(12), chains=500, temperatures=1000, stream=stream)
    assert found.value == pytest.approx(expected, abs=0.1)
    assert found.low - 0.05 <= expected <= found.high + 0.05
    assert found.low < found.value < found.high


def test_the_interval_holds_log_z_about_as_often_as_it_says() -> None:
    """Sixty repetitions at 95 %: at least 50 hold it (binomial: P(fewer than 50) = 1e-4)."""
    made = machine(8, 24, 0.7)
    expected = float(torch.logsumexp(-made.free_energy(all_states(8)).double(), 0))
    held = 0
    for seed in range(60):
        stream = torch.Generator().manual_seed(seed)
        found = annealed_log_z(made, torch.zeros(8), chains=100, temperatures=100, stream=stream)
        held += int(found.low <= expected <= found.high)
    assert held >= 50


def test_the_base_machine_matters_only_to_the_error() -> None:
    made = machine(10, 25, 0.5)
    values = [
        annealed_log_z(made, base, chains=400, temperatures=600, stream=torch.Generator().manual_seed(1)).value
        for base in (torch.zeros(10), made.visible_bias, torch.full((10,), -1.0))
    ]
    assert max(values) - min(values) < 0.15


def test_the_pseudo_likelihood_is_the_mean_over_all_bits() -> None:
    """sum_i log p(v_i | the others) of every state by its two neighbours; the estimate draws one bit of each."""
    made, states = machine(6, 4), all_states(6)
    energies = made.free_energy(states)
    exact = 0.0
    for bit in range(6):
        flipped = states.clone()
        flipped[:, bit] = 1 - flipped[:, bit]
        exact += float(torch.nn.functional.logsigmoid(made.free_energy(flipped) - energies).mean())
    many = states.repeat(500, 1)
    found = pseudo_log_likelihood(made, many, torch.Generator().manual_seed(0))
    assert found == pytest.approx(exact, rel=0.03)


def test_the_divergence_of_recreations_is_that_of_bits() -> None:
    actual, recreated = torch.tensor([[0.0, 1.0, 0.3]]), torch.tensor([[0.25, 0.5, 0.3]])
    assert float(bernoulli_kl(actual, recreated)) == pytest.approx(-math.log(0.75) - math.log(0.5), rel=1e-4)
    assert float(bernoulli_kl(actual, torch.tensor([[1.0, 1.0, 0.3]]))) == pytest.approx(-math.log(1e-6), rel=0.05)
