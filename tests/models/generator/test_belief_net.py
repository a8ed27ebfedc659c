"""A belief network as a generator: its chains follow its distribution, and its pictures are those of its layers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from models.data.mnist import DataSet
from models.generator.belief_net import BeliefNet
from models.init.pretrained import Dbn
from models.pretrain.dbn import Pretraining
from tests.models.pretrain.test_dbn import SETTINGS, finished

CPU = torch.device("cpu")


def tiny(weight_scale: float) -> BeliefNet:
    stream = np.random.default_rng(0)
    tensors = {}
    for layer, (below, above) in enumerate([(784, 5), (5, 4)]):
        for name, shape in (("weight", (below, above)), ("visible_bias", (below,)), ("hidden_bias", (above,))):
            tensors[f"rbm.{layer}.{name}"] = (weight_scale * stream.standard_normal(shape)).astype(np.float32)
        for name, shape in (("weight", (below, above)), ("visible", (below,)), ("hidden", (above,))):
            tensors[f"rbm.{layer}.{name}_velocity"] = np.zeros(shape, dtype=np.float32)
    return BeliefNet((784, 5, 4), tensors)


def test_chains_of_the_top_machine_reach_its_distribution() -> None:
    """The mean picture of 4,000 chains, against the enumeration of the top machine's 2^5 visible states."""
    net = tiny(2.5)
    frames = net.chains(4000, 200, 200, torch.Generator().manual_seed(0), None)
    assert [frame.step for frame in frames] == [0, 200]
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))
    shares = torch.softmax(-net.machines[1].free_energy(states), 0)
    expected = 255 * (shares[:, None] * net.machines[0].visible_probabilities(states)).sum(0)
    found = frames[-1].pictures.float().mean(0)
    # A pixel of one chain has an sd of at most 128, and 4,000 chains one of 2; 784 pixels reach 4.5 sd.
    assert float((found - expected).abs().max()) < 9


def test_the_same_seed_gives_the_same_pictures_and_another_one_others() -> None:
    net = tiny(0.5)

    def pictures(seed: int) -> torch.Tensor:
        return net.chains(3, 5, 2, torch.Generator().manual_seed(seed), None)[-1].pictures

    assert torch.equal(pictures(1), pictures(1))
    assert not torch.equal(pictures(1), pictures(2))


def test_frames_come_before_the_first_step_after_every_so_many_and_after_the_last() -> None:
    frames = tiny(0.5).chains(2, 7, 3, torch.Generator().manual_seed(0), None)
    assert [frame.step for frame in frames] == [0, 3, 6, 7]
    assert {tuple(frame.pictures.shape) for frame in frames} == {(2, 784)}


def test_a_trained_machine_rebuilds_digits_better_than_an_untrained_one(five_thousand: DataSet) -> None:
    learned = torch.tensor(five_thousand.train.images.reshape(-1, 784))
    images = torch.tensor(five_thousand.test.images.reshape(-1, 784)[:50])
    pretraining = Pretraining(Dbn(rbm_epochs=3).settings, (784, 64), 5, learned, CPU)
    errors = []
    for _ in range(2):
        net = BeliefNet((784, 64), pretraining.snapshot().tensors)
        errors.append(float((net.reconstruction(images).float() - images.float()).square().mean()))
        finished(pretraining)
    assert errors[1] < 0.7 * errors[0]


def test_one_machine_is_a_network_too(few: DataSet) -> None:
    pretraining = Pretraining(SETTINGS.settings, (784, 20), 5, torch.tensor(few.train.images.reshape(-1, 784)), CPU)
    net = BeliefNet((784, 20), finished(pretraining).snapshot().tensors)
    digits = torch.tensor(few.test.images.reshape(-1, 784)[:4])
    frames = net.chains(4, 3, 1, torch.Generator().manual_seed(0), digits)
    assert len(frames) == 4
    assert torch.equal(frames[0].pictures, digits)
    assert frames[1].pictures.float().std() > 10


def log_p_of_bits(bits: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
    probabilities = drive.double().sigmoid()
    return torch.where(bits > 0, probabilities, 1 - probabilities).log().sum(-1)


def test_weights_of_units_read_upwards_have_the_mean_that_enumeration_gives_and_bound_the_likelihood() -> None:
    net = tiny(0.3)
    below, top = net.machines
    stream = torch.Generator().manual_seed(1)
    image = torch.bernoulli(torch.full((784,), 0.3), generator=stream)
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))
    q = log_p_of_bits(states, torch.addmv(below.hidden_bias, below.weight.t(), image))
    p_down = log_p_of_bits(image, torch.addmm(below.visible_bias, states, below.weight.t()))
    of_top = -top.free_energy(states).double()
    of_top -= torch.logsumexp(of_top, 0)
    gains = p_down + of_top - q
    bound = float((q.exp() * gains).sum())
    assert bound < float(torch.logsumexp(p_down + of_top, 0))
    count = 20_000
    units, log_weights = net.log_weights(image.expand(count, -1), 2, stream)
    places = (units @ torch.tensor([16.0, 8, 4, 2, 1])).long()
    found = log_weights + of_top[places]
    spread = math.sqrt(float((q.exp() * (gains - bound).square()).sum()) / count)
    assert abs(float(found.mean()) - bound) < 4.5 * spread
    torch.testing.assert_close(found, gains[places], rtol=1e-5, atol=1e-3)


def test_one_machine_alone_has_no_units_to_weigh() -> None:
    images = torch.ones(3, 784)
    units, log_weights = tiny(0.3).log_weights(images, 1, torch.Generator())
    assert torch.equal(units, images)
    assert log_weights.tolist() == [0, 0, 0]
