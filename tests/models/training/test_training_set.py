"""What a training reads at every step: laid out once for jobs that are alike, and anew for any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.errors import InvalidSpec
from models.network.architecture import Architecture
from models.spec import Adam, TrainSpec
from models.training.train import Training
from models.training.training_set import training_set

CPU = torch.device("cpu")
SPEC = TrainSpec(architecture=Architecture(hidden=(8,)), batch_size=50, epochs=1, data="mnist_5k")


def test_it_holds_the_images_where_any_is_lit_and_their_labels(few: DataSet) -> None:
    found = training_set(SPEC, few, CPU)
    images = few.train.images.reshape(-1, 784)
    lit = np.flatnonzero(images.any(0))
    assert np.array_equal(found.pixels, lit)
    assert np.array_equal(found.lit, images[:, lit])
    assert np.array_equal(found.images, images)
    assert np.array_equal(found.labels, few.train.labels)


def test_it_is_made_once_for_specs_that_are_alike(few: DataSet) -> None:
    first = training_set(SPEC, few, CPU)
    other = SPEC.model_copy(update={"seed": 3, "architecture": Architecture(hidden=(5, 5)), "epochs": 9})
    assert training_set(other, few, CPU) is first


@pytest.mark.parametrize(
    "changed",
    [
        {"validation_images": 40},
        {"optimizer": Adam(weight_decay=0.1)},
        {"architecture": Architecture(hidden=(8,), inputs="standardized")},
    ],
    ids=["held out", "weight decay", "standardized"],
)
def test_it_is_made_anew_for_what_reads_other_images_or_pixels(changed: dict[str, object], few: DataSet) -> None:
    first, found = training_set(SPEC, few, CPU), training_set(SPEC.model_copy(update=changed), few, CPU)
    assert (found.images.shape, found.lit.shape) != (first.images.shape, first.lit.shape)


def test_it_is_made_anew_for_other_data(few: DataSet) -> None:
    first = training_set(SPEC, few, CPU)
    equal = replace(few)  # another object may have been read from changed files
    assert training_set(SPEC, equal, CPU) is not first


def test_training_leaves_it_as_it_is(few: DataSet) -> None:
    found = training_set(SPEC, few, CPU)
    before = [part.clone() for part in (found.images, found.pixels, found.lit, found.labels)]
    training = Training([SPEC], few, CPU)
    training.diagnose(0)
    training.run_epoch()
    after = (found.images, found.pixels, found.lit, found.labels)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert training_set(SPEC, few, CPU) is found


def test_too_few_images_are_refused_though_another_spec_was_laid_out(few: DataSet) -> None:
    training_set(SPEC, few, CPU)
    with pytest.raises(InvalidSpec):
        training_set(SPEC.model_copy(update={"validation_images": 400}), few, CPU)
