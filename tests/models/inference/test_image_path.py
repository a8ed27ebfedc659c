"""The path of one image through a network: activations as torch has them, and the links that matter most."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.layer_statistics import passed
from models.errors import OutputNotFinite
from models.inference.image_path import LINKS_A_UNIT, MOST_TRACED, path_of
from models.init import initialize
from models.init.by_fans import XavierNormal
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.network.stack import NetworkStack
from models.spec import TrainSpec
from models.vocabulary import Activation, InputScaling
from tests.models.inference.test_predictor import predictor_of


def drawn(
    *hidden: int, activation: Activation = "relu", inputs: InputScaling = "zero_to_one", gain: float = 2.0
) -> tuple[Network, TrainSpec]:
    spec = TrainSpec(architecture=Architecture(hidden=hidden, activation=activation, inputs=inputs))
    network = Network.empty(spec.architecture)
    initialize(network, XavierNormal(gain=gain, bias="torch_default"), seed=4)
    return network, spec


@pytest.mark.parametrize("inputs", get_args(InputScaling))
@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_layers_of_a_path_are_those_of_the_training_framework(
    activation: Activation, inputs: InputScaling, few: DataSet
) -> None:
    network, spec = drawn(20, 14, activation=activation, inputs=inputs)
    image = few.test.images[3]
    path = path_of(predictor_of(network, spec), image)
    shares = torch.tensor(image.reshape(1, 784)).float() / 255
    seen = passed(NetworkStack.of([network], torch.device("cpu")), shares, torch.tensor([0]))
    assert np.array_equal(path.layers[0], shares[0].numpy())
    assert [len(values) for values in path.layers] == [784, 20, 14, 10]
    for found, expected in zip(path.layers[1:], seen.a, strict=True):
        wanted = expected[0, 0].numpy()
        assert np.abs(found - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
    assert np.abs(path.probabilities - predictor_of(network, spec).predict(image[None])[0]).max() < 1e-6


def test_links_are_the_largest_contributions_from_the_answer_down(few: DataSet) -> None:
    network, spec = drawn(30, 30, 30)
    path = path_of(predictor_of(network, spec), few.test.images[0])
    traced = {int(path.layers[-1].argmax())}
    for number in (4, 3, 2):
        of_layer = [link for link in path.links if link.layer == number]
        weight = network.layers[number - 1].weight.numpy()
        assert {link.target for link in of_layer} <= traced
        for target in traced:
            terms = np.abs(weight[target] * path.layers[number - 1])
            links = [link for link in of_layer if link.target == target]
            assert len(links) <= LINKS_A_UNIT
            assert {link.source for link in links} <= set(np.argsort(-terms)[:LINKS_A_UNIT].tolist())
            for link in links:
                assert link.contribution == pytest.approx(
                    float(weight[target, link.source] * path.layers[number - 1][link.source]), rel=1e-5
                )
        traced = {link.source for link in of_layer}
        assert 0 < len(traced) <= MOST_TRACED
    assert len([link for link in path.links if link.layer == 4]) == LINKS_A_UNIT


def test_a_network_of_zeros_has_no_links(few: DataSet) -> None:
    network, spec = drawn(6, 5)
    for layer in network.layers:
        layer.weight.zero_()
        layer.bias.zero_()
    path = path_of(predictor_of(network, spec), few.test.images[0])
    assert path.links == []
    assert path.probabilities.tolist() == pytest.approx([0.1] * 10)


def test_a_path_through_an_infinite_activation_is_refused(few: DataSet) -> None:
    network, spec = drawn(8, 8)
    network.layers[0].weight.fill_(3e37)  # over some tens of pixels, the sum is beyond float32
    network.layers[1].weight.abs_().neg_()
    predictor = predictor_of(network, spec)
    assert np.isfinite(predictor.predict(few.test.images[:1])).all(), "the answer itself is a number"
    with pytest.raises(OutputNotFinite):
        path_of(predictor, few.test.images[0])


def test_a_path_that_overflows_is_refused(few: DataSet) -> None:
    network, spec = drawn(8)
    for layer in network.layers:
        layer.weight.mul_(1e30)
    with pytest.raises(OutputNotFinite):
        path_of(predictor_of(network, spec), few.test.images[0])
