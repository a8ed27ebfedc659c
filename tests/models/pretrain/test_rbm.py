"""The restricted Boltzmann machine, against brute force on sizes small enough to enumerate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from models.pretrain.rbm import RBM, TENSORS, CdStep

CPU = torch.device("cpu")
VISIBLE, HIDDEN = 6, 4


def machine(seed: int = 0, *, samples_last: bool = True) -> RBM:
    stream = torch.Generator().manual_seed(seed)
    made = RBM(VISIBLE, HIDDEN, CPU, samples_last=samples_last)
    made.weight.normal_(0.0, 1.0, generator=stream)
    made.visible_bias.normal_(0.0, 1.0, generator=stream)
    made.hidden_bias.normal_(0.0, 1.0, generator=stream)
    return made


def all_states(units: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)))


def energies(of: RBM) -> torch.Tensor:
    """Return E(v, h) for every pair of states, float64 [2^n, 2^m]."""
    v, h = all_states(VISIBLE).double(), all_states(HIDDEN).double()
    linear = (v @ of.visible_bias.double())[:, None] + (h @ of.hidden_bias.double())[None, :]
    return -linear - v @ of.weight.double() @ h.t()


def test_the_free_energy_is_the_sum_over_all_hidden_states() -> None:
    rbm = machine()
    expected = -torch.logsumexp(-energies(rbm), dim=1)
    torch.testing.assert_close(rbm.free_energy(all_states(VISIBLE)).double(), expected, rtol=1e-5, atol=1e-5)


def test_conditional_probabilities_are_those_of_the_joint_distribution() -> None:
    rbm = machine()
    joint = torch.softmax(-energies(rbm).flatten(), 0).view(2**VISIBLE, 2**HIDDEN)
    hidden = (joint @ all_states(HIDDEN).double()) / joint.sum(1, keepdim=True)
    torch.testing.assert_close(rbm.hidden_probabilities(all_states(VISIBLE)).double(), hidden, rtol=1e-5, atol=1e-6)
    visible = (joint.t() @ all_states(VISIBLE).double()) / joint.sum(0)[:, None]
    torch.testing.assert_close(rbm.visible_probabilities(all_states(HIDDEN)).double(), visible, rtol=1e-5, atol=1e-6)


def test_long_chains_follow_the_gradient_of_the_likelihood() -> None:
    """After k = 200 the chain is at the model's own distribution: <v h>_data - <v h>_model, by enumeration.

    The chain's side is a mean of 20,000 values in [0, 1].
    """
    rbm = machine()
    data = all_states(VISIBLE)[[3, 17, 40, 63]].repeat(5000, 1)
    joint = torch.softmax(-energies(rbm).flatten(), 0).view(2**VISIBLE, 2**HIDDEN)
    model = all_states(VISIBLE).double().t() @ joint @ all_states(HIDDEN).double()
    expected = data.double().t() @ rbm.hidden_probabilities(data).double() / len(data) - model
    moved = {}
    for samples_last in (True, False):
        chain = machine(samples_last=samples_last)
        before = chain.weight.clone()
        stream = torch.Generator().manual_seed(1)
        chain.step(data, CdStep(200, lr=1.0, momentum=0.0, weight_decay=0.0), stream)
        moved[samples_last] = (chain.weight - before).double()
    bound = 5 * 0.5 / math.sqrt(len(data))
    assert float((moved[True] - expected).abs().max()) < bound
    assert float((moved[False] - expected).abs().max()) > 2 * bound  # the mean field is another gradient


def test_long_chains_with_a_mean_field_take_its_statistics_from_the_model() -> None:
    """After k = 200 hidden states are h ~ p(h), the model's own; the statistics are <p(v|h) p(h'|p(v|h))>.

    All of it can be enumerated here. The chain's side is a mean of 20,000 values in [0, 1].
    """
    rbm = machine(samples_last=False)
    rbm.weight.mul_(0.3)
    data = all_states(VISIBLE)[[3, 17, 40, 63]].repeat(5000, 1)
    before = rbm.weight.clone()
    of_hidden = torch.softmax(-energies(rbm).flatten(), 0).view(2**VISIBLE, 2**HIDDEN).sum(0)
    rebuilt = rbm.visible_probabilities(all_states(HIDDEN))
    model = (rebuilt.double() * of_hidden[:, None]).t() @ rbm.hidden_probabilities(rebuilt).double()
    expected = data.double().t() @ rbm.hidden_probabilities(data).double() / len(data) - model
    stream = torch.Generator().manual_seed(1)
    rbm.step(data, CdStep(200, lr=1.0, momentum=0.0, weight_decay=0.0), stream)
    moved = (rbm.weight - before).double()
    assert float(expected.abs().max()) > 0.1
    assert float((moved - expected).abs().max()) < 5 * 0.5 / math.sqrt(len(data))


def test_a_step_is_momentum_times_the_last_one_and_the_decay_is_on_weights_alone() -> None:
    rbm = machine()
    rbm.weight_velocity.fill_(1.0)
    rbm.hidden_velocity.fill_(1.0)
    weight = rbm.weight.clone()
    visible = torch.full((10, VISIBLE), 0.5)
    rbm.visible_bias.fill_(0.0)
    stream = torch.Generator().manual_seed(0)
    # With a learning rate of nearly nothing, only momentum and (for the decay) lr * decay * W are left.
    rbm.step(visible, CdStep(1, lr=1e-9, momentum=0.25, weight_decay=1e8), stream)
    torch.testing.assert_close(rbm.weight_velocity, 0.25 - 0.1 * weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rbm.hidden_velocity, torch.full((HIDDEN,), 0.25), rtol=1e-4, atol=1e-5)


def test_it_learns_the_distribution_it_is_shown() -> None:
    """Two patterns shown all the time become far likelier than their 2 in 64 by chance."""
    rbm = RBM(VISIBLE, HIDDEN, CPU)
    stream = torch.Generator().manual_seed(0)
    patterns = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0.0, 0, 0, 1, 1, 1]])
    data = patterns.repeat(50, 1)
    rbm.start(0.01, data.mean(0), stream)
    for _ in range(500):
        rbm.step(data, CdStep(1, lr=0.1, momentum=0.5, weight_decay=0.0), stream)
    states = all_states(VISIBLE)
    probabilities = torch.softmax(-rbm.free_energy(states), 0)
    shown = [index for index, state in enumerate(states) if any(torch.equal(state, one) for one in patterns)]
    assert float(probabilities[shown].sum()) > 0.8


def test_visible_biases_start_at_the_log_odds_of_the_data_within_four() -> None:
    rbm = RBM(3, HIDDEN, CPU)
    rbm.start(0.01, torch.tensor([0.0, 0.5, 0.9]), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(rbm.visible_bias, [-4.0, 0.0, math.log(9)], atol=1e-6)
    assert not rbm.hidden_bias.any()
    assert float(rbm.weight.std()) == pytest.approx(0.01, rel=0.6)


def test_state_and_load_are_each_others_inverse() -> None:
    first, second = machine(0), machine(1)
    second.load(first.state())
    for name in TENSORS:
        assert torch.equal(getattr(first, name), getattr(second, name))
