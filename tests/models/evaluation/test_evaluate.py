from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet, Digits
from models.evaluation.evaluate import VALUES_AT_ONCE, count, count_all, evaluate
from models.init import initialize
from models.init.by_fans import HeNormal
from models.init.constants import Zeros
from models.network.architecture import Architecture
from models.network.mlp import Layer, Network
from models.results import expected_calibration_error, wilson_interval
from models.spec import TrainSpec
from models.vocabulary import MNIST_DEVIATION, MNIST_MEAN, Activation, InputScaling


def brightest_pixel_network() -> Network:
    """Answer the digit whose pixel (among the first ten) is brightest."""
    weight = torch.zeros(10, 784)
    weight[:, :10] = torch.eye(10) * 5
    return Network((Layer(torch.eye(784), torch.zeros(784)), Layer(weight, torch.zeros(10))), "identity", "zero_to_one")


def digits(answers: list[int], labels: list[int]) -> Digits:
    images = np.zeros((len(answers), 784), np.uint8)
    images[np.arange(len(answers)), answers] = 255
    return Digits(images.reshape(-1, 28, 28), np.array(labels, np.uint8))


def test_confusion_counts_labels_by_row_and_answers_by_column() -> None:
    found = count(brightest_pixel_network(), digits([3, 3, 5], [3, 4, 5]))
    assert found.confusion[3, 3] == found.confusion[4, 3] == found.confusion[5, 5] == 1
    assert int(found.confusion.sum()) == 3
    assert found.accuracy == pytest.approx(2 / 3)


def test_the_mean_loss_is_that_of_softmax_cross_entropy() -> None:
    found = count(brightest_pixel_network(), digits([3], [3]))
    assert found.mean_loss == pytest.approx(np.log(1 + 9 * np.exp(-5)), rel=1e-5)


def test_an_evaluation_says_what_it_is_of() -> None:
    every = list(range(10))
    part = digits(every, [*every[:9], 0])
    held_out = DataSet("mnist_5k", part, part, "mnist_5k_held_out", "", "")
    test_set = DataSet("mnist", part, part, "mnist_test", "", "")
    on_held_out, on_test_set = (evaluate(brightest_pixel_network(), with_nine(data)) for data in (held_out, test_set))
    assert on_held_out.test_accuracy is None
    assert on_held_out.test_accuracy_raw255 is None
    assert on_test_set.test_accuracy == on_test_set.accuracy == on_held_out.accuracy == pytest.approx(10 / 11)
    assert on_test_set.test_accuracy_raw255 == on_held_out.accuracy_raw255
    assert on_test_set.n == 11
    assert on_test_set.accuracy_interval == wilson_interval(10, 11)
    assert on_test_set.per_class[0].accuracy == 0.5
    assert on_test_set.confusion_matrix[0][9] == 1


@pytest.mark.parametrize("inputs", get_args(InputScaling))
def test_the_accuracy_on_raw_pixels_is_that_of_a_network_given_255_times_as_much(
    inputs: InputScaling, few: DataSet
) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(16,), activation="gelu", inputs=inputs))
    network = Network.empty(spec.architecture)
    initialize(network, spec.init, 0)
    network.layers[0].bias.fill_(9.0)  # so that it matters how the pixels are scaled
    first = network.layers[0]
    if inputs == "standardized":  # as a network that takes shares of ink
        weight = first.weight / MNIST_DEVIATION
        first = Layer(weight, first.bias - MNIST_MEAN * weight.sum(1))
    raised = Network((Layer(first.weight * 255, first.bias), *network.layers[1:]), network.activation, "zero_to_one")
    found, expected = count(network, few.test, also_on_raw=True), count(raised, few.test)
    assert found.hits_on_raw == expected.hits
    assert found.hits != expected.hits


def with_nine(data: DataSet) -> DataSet:
    """Return `data` with a nine more, so that every digit has an image."""
    extra = digits([9], [9])
    test = Digits(np.concatenate([data.test.images, extra.images]), np.concatenate([data.test.labels, extra.labels]))
    return DataSet(data.name, test, test, data.evaluated_on, data.sha256, data.description)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_that_of_published_tables(hits: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(hits, n)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False, True, False])
    # four answers at .95 of which 3/4 are right, two at .55 of which 1/2: 4/6 |.75 - .95| + 2/6 |.5 - .55|
    assert expected_calibration_error(confidences, right) == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0.0
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0.0


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_networks_that_are_evaluated_together_have_the_counts_of_each_alone(
    activation: Activation, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = Architecture(hidden=(16, 12), activation=activation)
    networks = [Network.empty(architecture) for _ in range(5)]
    for seed, network in enumerate(networks):
        initialize(network, HeNormal(bias="torch_default"), seed)
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 2**30)
    together = count_all(networks, few.test, also_on_raw=True)
    monkeypatch.setattr("models.evaluation.evaluate.CHUNK_IMAGES", 77)
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 2 * 77 * 38)
    in_parts = count_all(networks, few.test, also_on_raw=True)
    assert len({found.hits for found in together}) > 1
    for network, found, same in zip(networks, together, in_parts, strict=True):
        alone = count(network, few.test, also_on_raw=True)
        for other in (alone, same):
            assert torch.equal(other.confusion, found.confusion)
            assert torch.equal(other.right, found.right)
            assert other.hits_on_raw == found.hits_on_raw
            assert other.mean_loss == pytest.approx(found.mean_loss, rel=1e-5)
            torch.testing.assert_close(other.confidences, found.confidences, rtol=1e-5, atol=1e-6)


def test_an_evaluation_has_its_calibration_error(few: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(8,)), init=Zeros())
    network = Network.empty(spec.architecture)
    initialize(network, spec.init, 0)
    found = evaluate(network, few)
    # Zeros answer 0 with probability .1 everywhere.
    assert found.expected_calibration_error == pytest.approx(abs(found.accuracy - 0.1), abs=1e-6)
