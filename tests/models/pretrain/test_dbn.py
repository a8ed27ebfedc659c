"""Greedy pre-training: layer by layer, exact resume, and that it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.data.training_images import training_images
from models.errors import InvalidSpec, LossNotFinite
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.pretrain.dbn import Pretraining
from models.spec import TrainSpec
from models.training.snapshot import pretrained_network
from models.training.train import Training

CPU = torch.device("cpu")
SETTINGS = Dbn(rbm_epochs=2, batch=20, momentum_switch=1)
SIZES = (784, 24, 16)
SPEC = TrainSpec(
    architecture=Architecture(hidden=(24, 16), activation="sigmoid"), init=SETTINGS, epochs=1, data="mnist_5k", seed=5
)


def started(data: DataSet) -> Pretraining:
    return Pretraining(SETTINGS.settings, SIZES, 5, training_images(SPEC, data), CPU)


def finished(pretraining: Pretraining) -> Pretraining:
    while not pretraining.finished:
        pretraining.run_epoch()
    return pretraining


def test_layers_learn_one_after_another_and_tell_how_they_do(few: DataSet) -> None:
    pretraining = started(few)
    metrics = [pretraining.run_epoch() for _ in range(4)]
    assert pretraining.finished
    assert [(one.number, one.layer, one.epoch) for one in metrics] == [(1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2)]
    assert metrics[1].reconstruction_error < metrics[0].reconstruction_error
    assert metrics[3].reconstruction_error < metrics[2].reconstruction_error
    for one in metrics:
        assert 0.05 < one.hidden_activity < 0.95
        assert one.free_energy_gap is not None


def test_a_layer_that_learns_leaves_the_one_below_as_it_is(few: DataSet) -> None:
    pretraining = started(few)
    for _ in range(2):
        pretraining.run_epoch()
    below = pretraining.machines[0].weight.clone()
    finished(pretraining)
    assert torch.equal(pretraining.machines[0].weight, below)


@pytest.mark.parametrize("stop_after", [0, 1, 2, 3, 4])
def test_a_pretraining_that_goes_on_from_a_snapshot_ends_with_the_same_bits(stop_after: int, few: DataSet) -> None:
    pretraining = started(few)
    for _ in range(stop_after):
        pretraining.run_epoch()
    resumed = Pretraining(SETTINGS.settings, SIZES, 5, training_images(SPEC, few), CPU, pretraining.snapshot())
    first, second = finished(pretraining).snapshot(), finished(resumed).snapshot()
    assert first.number == second.number == 4
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])


@pytest.mark.parametrize("output_epochs", [0, 2])
def test_the_scheme_alone_and_the_pretraining_in_steps_fill_the_same_network(output_epochs: int, few: DataSet) -> None:
    spec = SPEC.model_copy(update={"init": SETTINGS.model_copy(update={"output_epochs": output_epochs})})
    images, labels = training_images(spec, few), torch.tensor(few.train.labels)
    alone = spec.first_network(images, labels)
    stepwise = pretrained_network(spec, finished(started(few)), images, labels)
    for one, other in zip(alone.layers, stepwise.layers, strict=True):
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.bias, other.bias)
    assert float(alone.layers[0].weight.std()) > 2 * SETTINGS.weight_std  # it has learned


def test_a_spec_with_pretraining_trains_like_any_other(few: DataSet) -> None:
    metrics = Training([SPEC], few, CPU).run_epoch()[0]
    assert metrics.train_loss_mean < 2.4


def test_the_held_out_images_are_not_learned_from(few: DataSet) -> None:
    images = training_images(SPEC, few)
    other = images.clone()
    other[380:] = 0  # the last twentieth
    first, second = (
        finished(Pretraining(SETTINGS.settings, SIZES, 5, shown, CPU)).snapshot().tensors for shown in (images, other)
    )
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


def test_with_none_held_out_all_images_are_learned_and_no_gap_is_known(few: DataSet) -> None:
    settings = SETTINGS.model_copy(update={"held_out": 0}).settings
    pretraining = Pretraining(settings, SIZES, 5, training_images(SPEC, few), CPU)
    assert pretraining.run_epoch().free_energy_gap is None
    assert pretraining.images_per_epoch == 400


def test_shuffled_weights_are_the_learned_ones_in_other_places_and_the_biases_stay(few: DataSet) -> None:
    images, labels = training_images(SPEC, few), torch.tensor(few.train.labels)
    shuffled = SPEC.model_copy(update={"init": SETTINGS.model_copy(update={"shuffled": True})})
    plain, other = (spec.first_network(images, labels) for spec in (SPEC, shuffled))
    for one, permuted in zip(plain.layers[:-1], other.layers[:-1], strict=True):
        assert not torch.equal(one.weight, permuted.weight)
        assert torch.equal(one.weight.flatten().sort().values, permuted.weight.flatten().sort().values)
        assert torch.equal(one.bias, permuted.bias)


def test_a_machine_that_diverges_says_where(few: DataSet) -> None:
    pretraining = started(few)
    pretraining.machines[0].weight.fill_(float("nan"))
    with pytest.raises(LossNotFinite, match="layer 1 became nan in epoch 1 of pre-training"):
        pretraining.run_epoch()


def test_too_few_images_are_refused(few: DataSet) -> None:
    with pytest.raises(InvalidSpec, match="more than the 19 training images"):
        Pretraining(SETTINGS.settings, SIZES, 5, training_images(SPEC, few)[:20], CPU)
    with pytest.raises(InvalidSpec, match="at least 22"):
        SPEC.first_network(training_images(SPEC, few)[:10])


def test_pretraining_makes_a_deep_sigmoid_network_learn(five_thousand: DataSet) -> None:
    """Five layers, three epochs: Xavier stays at chance, pre-trained it learns."""
    deep = Architecture(hidden=(128,) * 5, activation="sigmoid")
    spec = TrainSpec(architecture=deep, init=Dbn(rbm_epochs=3), epochs=3, data="mnist_5k")
    from models.evaluation.evaluate import count
    from models.init.by_fans import XavierNormal

    accuracies = []
    for init in (spec.init, XavierNormal()):
        training = Training([spec.model_copy(update={"init": init})], five_thousand, CPU)
        while not training.finished:
            training.run_epoch()
        accuracies.append(count(training.network(0), five_thousand.test).accuracy)
    assert accuracies[0] > 0.7
    assert accuracies[1] < 0.5
