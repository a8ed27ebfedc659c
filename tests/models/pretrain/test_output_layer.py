"""The output layer that learns alone: against autograd, and that nothing else moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.data.mnist import DataSet
from models.init import initialize
from models.init.by_fans import XavierUniform
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.pretrain.output_layer import BATCH, RATE, TrainingDigits, train_output_layer
from models.randomness import generator
from models.spec import TrainSpec

CPU = torch.device("cpu")


@pytest.fixture
def network() -> Network:
    made = Network.empty(Architecture(hidden=(30, 20), activation="sigmoid"))
    initialize(made, XavierUniform(), 1)
    return made


def test_the_output_layer_learns_as_autograd_and_adam_would_and_the_others_stay(network: Network, few: DataSet) -> None:
    images, labels = torch.tensor(few.train.images.reshape(-1, 784)), torch.tensor(few.train.labels)
    before = [(layer.weight.clone(), layer.bias.clone()) for layer in network.layers]
    h = images.float() / 255
    for weight, bias in before[:-1]:
        h = torch.sigmoid(h @ weight.t() + bias)
    output = nn.Linear(20, 10)
    with torch.no_grad():
        output.weight.copy_(before[-1][0])
        output.bias.copy_(before[-1][1])
    adam = torch.optim.Adam(output.parameters(), lr=RATE)
    for epoch in (1, 2):
        for chosen in torch.split(torch.randperm(len(h), generator=generator(7, "output_order", epoch)), BATCH):
            adam.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(output(h[chosen]), labels[chosen].long()))
            adam.step()
    calls: list[None] = []
    train_output_layer(
        network, TrainingDigits(images, labels), epochs=2, seed=7, device=CPU, between_epochs=lambda: calls.append(None)
    )
    assert len(calls) == 2
    torch.testing.assert_close(network.layers[-1].weight, output.weight.detach(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(network.layers[-1].bias, output.bias.detach(), rtol=1e-3, atol=1e-5)
    for layer, (weight, bias) in zip(network.layers[:-1], before, strict=False):
        assert torch.equal(layer.weight, weight)
        assert torch.equal(layer.bias, bias)


def test_labels_are_asked_for_where_they_are_needed(few: DataSet) -> None:
    architecture = Architecture(hidden=(8,), activation="sigmoid")
    spec = TrainSpec(architecture=architecture, init=Dbn(rbm_epochs=1, output_epochs=1), data="mnist_5k")
    with pytest.raises(ValueError, match="learns from labels"):
        spec.first_network(torch.tensor(few.train.images.reshape(-1, 784)))
