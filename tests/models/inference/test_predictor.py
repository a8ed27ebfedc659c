from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from models.checkpoint import Checkpoint, CheckpointMetadata, weights_sha256
from models.data.mnist import DataSet
from models.errors import OutputNotFinite
from models.evaluation.evaluate import logits
from models.inference.predictor import Predictor
from models.init import initialize
from models.init.by_fans import XavierNormal
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import TrainSpec
from models.training.train import Training
from models.vocabulary import Activation, InputScaling


def predictor_of(network: Network, spec: TrainSpec) -> Predictor:
    weights = network.to_weights()
    metadata = CheckpointMetadata(
        spec=spec, epoch=1, final=True, data="mnist", data_sha256="", weights_sha256=weights_sha256(weights)
    )
    return Predictor.of(Checkpoint(weights, metadata))


@pytest.mark.parametrize("inputs", get_args(InputScaling))
@pytest.mark.parametrize("activation", get_args(Activation))
def test_probabilities_are_those_of_the_training_framework(
    activation: Activation, inputs: InputScaling, few: DataSet
) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(64, 32), activation=activation, inputs=inputs))
    network = Network.empty(spec.architecture)
    initialize(network, XavierNormal(gain=3.0, bias="torch_default"), seed=2)
    found = predictor_of(network, spec).predict(few.test.images)
    shares = torch.tensor(few.test.images.reshape(-1, 784)).float() / 255
    outputs = logits(network, shares)
    expected = torch.softmax(outputs, dim=1).numpy()
    assert found.dtype == np.float32
    # sums of 784 products in another order differ by some 1e-7 of the outputs, and probabilities by no more
    assert np.abs(found - expected).max() < 1e-6 * max(10, float(outputs.abs().max()))
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert np.allclose(found.sum(1), 1, atol=1e-6)


def test_predicting_leaves_images_and_weights_as_they_are(few: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(8,)))
    network = Network.empty(spec.architecture)
    initialize(network, XavierNormal(), seed=2)
    predictor = predictor_of(network, spec)
    before = few.test.images.copy()
    first = predictor.predict(few.test.images)
    assert np.array_equal(first, predictor.predict(few.test.images))
    assert np.array_equal(before, few.test.images)


def test_large_outputs_do_not_overflow(few: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(8,), activation="sigmoid"))
    network = Network.empty(spec.architecture)
    initialize(network, XavierNormal(gain=10.0), seed=2)
    for layer in network.layers:
        layer.weight.mul_(1e6)
    found = predictor_of(network, spec).predict(few.test.images)
    assert np.isfinite(found).all()


def test_outputs_that_overflow_are_an_error_and_not_an_answer(few: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(8,) * 40))
    network = Network.empty(spec.architecture)
    initialize(network, XavierNormal(gain=10.0), seed=2)
    for layer in network.layers:
        layer.weight.mul_(10)
    with pytest.raises(OutputNotFinite, match="another epoch"):
        predictor_of(network, spec).predict(few.test.images)


def test_memory_counts_all_weights_and_what_fills_their_cache_lines() -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(8,)))
    network = Network.empty(spec.architecture)
    assert predictor_of(network, spec).memory_bytes == 4 * 16 * (785 + 9)


def test_labels_are_those_of_the_training_framework_on_the_whole_test_set(mnist: DataSet) -> None:
    training = Training([TrainSpec(epochs=1, data="mnist")], mnist, torch.device("cpu"))
    training.run_epoch()
    network, images = training.network(0), mnist.test.images
    found = predictor_of(network, training.specs[0]).predict(images)
    expected = torch.softmax(logits(network, torch.tensor(images.reshape(-1, 784)).float() / 255), dim=1).numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert np.array_equal(found.argmax(1), expected.argmax(1))
