"""Early stopping: when patience is over, in numbers and in trainings."""

from __future__ import annotations

import pytest
import torch

from models.data.mnist import DataSet
from models.init.by_fans import HeNormal
from models.init.constants import Zeros
from models.network.architecture import Architecture
from models.spec import Adam, TrainSpec
from models.training.early_stopping import EarlyStopping
from models.training.train import Training

CPU = torch.device("cpu")
SPEC = TrainSpec(
    architecture=Architecture(hidden=(64,)),
    init=HeNormal(),
    optimizer=Adam(lr=3e-3),
    data="mnist_5k",
    epochs=200,
    validation_images=500,
    patience=3,
)


@pytest.mark.parametrize(
    ("losses", "ends_after"),
    [
        ([3.0, 2.0, 1.0, 1.5, 1.5, 0.9, 1.0, 1.0, 1.0], 9),
        ([1.0, 1.0, 1.0, 1.0], 4),  # an equal loss is no lower one
        ([None, None, None], 3),
        ([2.0, None, 1.0, None, None, None], 6),
    ],
)
def test_patience_is_over_after_so_many_epochs_without_a_lower_loss(
    losses: list[float | None], ends_after: int
) -> None:
    stopping = EarlyStopping(3)
    ended = []
    for epoch, loss in enumerate(losses, start=1):
        stopping.take(7, epoch, loss)
        ended.append(stopping.is_out_of_patience(7))
    assert ended.index(True) + 1 == ends_after
    stopping.take(7, 99, 0.0)
    assert stopping.is_out_of_patience(7), "a model that had ended goes on"
    assert not stopping.is_out_of_patience(8)


def test_without_patience_nothing_ends() -> None:
    stopping = EarlyStopping(None)
    for epoch in range(1, 100):
        stopping.take(0, epoch, 1.0)
    assert not stopping.is_out_of_patience(0)


def test_patience_needs_images_to_watch() -> None:
    with pytest.raises(ValueError, match="patience watches the loss on validation_images"):
        TrainSpec(patience=2)


def trained(training: Training) -> list[float | None]:
    losses = []
    while not training.finished:
        losses.append(training.run_epoch()[0].validation_loss)
    return losses


def test_a_training_ends_three_epochs_after_its_least_validation_loss(five_thousand: DataSet) -> None:
    losses = trained(Training([SPEC], five_thousand, CPU))
    assert 4 < len(losses) < 100
    known = [loss for loss in losses if loss is not None]
    assert known.index(min(known)) == len(losses) - 4


def test_a_training_that_goes_on_remembers_what_it_had_seen(five_thousand: DataSet) -> None:
    whole = Training([SPEC], five_thousand, CPU)
    trained(whole)
    first = Training([SPEC], five_thousand, CPU)
    seen = [first.run_epoch()[0] for _ in range(whole.epoch - 1)]  # its best epoch is behind it
    resumed, forgetful = (Training([SPEC], five_thousand, CPU, [first.snapshot(0)]) for _ in range(2))
    resumed.remember(0, seen)
    trained(resumed)
    trained(forgetful)
    assert resumed.epoch == whole.epoch < forgetful.epoch


def test_models_that_train_together_end_each_in_its_own_epoch(five_thousand: DataSet) -> None:
    specs = [SPEC, SPEC.model_copy(update={"init": Zeros()})]
    together = Training(specs, five_thousand, CPU)
    ended: dict[int, int] = {}
    while not together.finished:
        together.run_epoch()
        for index in list(together.members):
            if together.has_ended(index):
                ended[index] = together.epoch
                together.drop(index)
    for index, spec in enumerate(specs):
        alone = Training([spec], five_thousand, CPU)
        trained(alone)
        assert ended[index] == alone.epoch
