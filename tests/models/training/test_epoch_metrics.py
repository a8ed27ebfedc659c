"""Metrics of an epoch from its losses: the curve within it."""

from __future__ import annotations

import math

import pytest
import torch

from models.data.mnist import DataSet
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.training.epoch_metrics import POINTS_OF_JOB, loss_curve
from models.training.train import train


def test_a_curve_has_the_means_of_equal_parts() -> None:
    assert loss_curve([4.0, 2.0, 1.0, 3.0], 100) == [3.0, 2.0]
    assert loss_curve([1.23456, 1.23456], 1) == [1.235, 1.235]


@pytest.mark.parametrize("epochs", [1, 2, 7, 15, 66, 100, 101, 1000])
def test_a_job_has_at_most_200_points(epochs: int) -> None:
    curve = loss_curve([1.0] * 600, epochs)
    assert len(curve) * epochs <= POINTS_OF_JOB
    assert len(curve) == (POINTS_OF_JOB // epochs if epochs <= 100 else 0)
    assert loss_curve([1.0], epochs) == []


def test_the_curve_of_an_epoch_goes_through_its_mean(few: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(8,)), batch_size=50, epochs=2, data="mnist_5k", drop_last=True)
    for _, metrics in train([spec], few, torch.device("cpu")):
        curve = metrics[0].train_losses
        assert len(curve) == min(100, spec.steps_per_epoch, len(few.train.labels) // 50)
        assert math.isclose(sum(curve) / len(curve), metrics[0].train_loss_mean, rel_tol=2e-3)
        assert curve[0] > curve[-1]
