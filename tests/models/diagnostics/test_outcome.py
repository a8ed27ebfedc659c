"""What came of a training: networks that are really trained, and the cases that they do not show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.outcome import REMEDIES, Outcome, TrainingRecord, diverged, outcome_of
from models.diagnostics.report import Diagnostics
from models.init.base import Scheme
from models.init.by_fans import HeNormal, TorchDefault, XavierNormal
from models.init.constants import Constant, Zeros
from models.init.fixed_scale import Normal
from models.network.architecture import Architecture
from models.results import ClassAccuracy, EpochMetrics, Evaluation, wilson_interval
from models.spec import SGD, Adam, TrainSpec
from models.training.train import Training

DEEP_TANH = Architecture(hidden=(40,) * 10, activation="tanh")


def trained(data: DataSet, scheme: Scheme, **changes: Any) -> Outcome:
    spec = TrainSpec(architecture=Architecture(hidden=(64, 32)), init=scheme, data="mnist_5k", epochs=8)
    spec = spec.model_copy(update=changes)
    training = Training([spec], data, torch.device("cpu"))
    first, metrics = training.diagnose(0), []
    while not training.finished:
        metrics.append(training.run_epoch()[0])
    last = training.diagnose(0) if metrics else None
    evaluation = training.evaluate(0)
    return outcome_of(TrainingRecord(spec.epochs, spec.optimizer.name, metrics, first, last, evaluation))


def test_zeros_do_not_learn_because_their_units_are_one(five_thousand: DataSet) -> None:
    found = trained(five_thousand, Zeros())
    assert found.kind == "did_not_learn"
    assert found.reason.startswith(
        "10.0% of 1,000 held-out images are right; one answer to all would be right on 10.0%. After training: symmetry"
    )
    assert found.remedy == REMEDIES["symmetry"]


def test_constants_learn_little(five_thousand: DataSet) -> None:
    found = trained(five_thousand, Constant(), epochs=20)
    assert found.kind == "learned_little"
    assert "symmetry unbroken" in found.reason


def test_he_learns_and_more_epochs_overfit_four_thousand_images(five_thousand: DataSet) -> None:
    found = trained(five_thousand, HeNormal(), epochs=3)
    assert found.kind == "learned"
    assert found.remedy is None
    assert found.reason.endswith("held-out images are right.")
    found = trained(five_thousand, HeNormal(), epochs=25)
    assert found.kind == "overfits"
    assert "In the last epoch 100.0% of the training images were right." in found.reason
    assert found.remedy is not None


@pytest.mark.parametrize(
    ("scheme", "says"), [(Normal(std=0.01), "signal dies"), (Normal(std=2.0), "saturated")], ids=["small", "large"]
)
def test_weights_of_a_wrong_size_are_named_as_the_reason(scheme: Scheme, says: str, five_thousand: DataSet) -> None:
    found = trained(five_thousand, scheme, architecture=DEEP_TANH, optimizer=SGD(lr=0.05), epochs=2)
    assert found.kind == "did_not_learn"
    assert says in found.reason
    assert "xavier_normal" in (found.remedy or "") or "smaller weights" in (found.remedy or "")


def test_a_network_that_learns_although_its_preview_warned_says_why(five_thousand: DataSet) -> None:
    found = trained(five_thousand, TorchDefault(), architecture=DEEP_TANH, optimizer=Adam(lr=3e-3), epochs=12)
    assert found.kind in ("learned", "overfits")
    if found.kind == "learned":
        assert "Before training: " in found.reason
        assert "Adam divides each gradient by its own size" in found.reason


def test_no_epochs_are_no_failure(five_thousand: DataSet) -> None:
    found = trained(five_thousand, XavierNormal(), epochs=0)
    assert (found.kind, found.remedy) == ("untrained", "Ask for epochs.")


# -- made up -----------------------------------------------------------------------------------------------


def metrics_of(train_accuracy: float, *validation_losses: float) -> list[EpochMetrics]:
    common = {"train_loss_mean": 1.0, "train_loss_last_batch": 1.0, "duration_s": 1.0, "images_per_s": 1.0}
    return [
        EpochMetrics(epoch=number, train_accuracy=train_accuracy, validation_loss=loss, **common)
        for number, loss in enumerate(validation_losses or (None,), start=1)
    ]


def evaluation_of(accuracy: float) -> Evaluation:
    return Evaluation(
        accuracy=accuracy,
        evaluated_on="mnist_test",
        n=10_000,
        accuracy_interval=wilson_interval(round(accuracy * 10_000), 10_000),
        test_accuracy=accuracy,
        test_accuracy_raw255=accuracy,
        accuracy_raw255=accuracy,
        mean_negative_log_likelihood=1.0,
        per_class=[ClassAccuracy(digit=digit, n=1135 if digit == 1 else 985, accuracy=accuracy) for digit in range(10)],
        confusion_matrix=[],
    )


def record_of(few: DataSet, verdict: str, update_ratio: float | None = None) -> Diagnostics:
    spec = TrainSpec(architecture=Architecture(hidden=(8,)), data="mnist_5k")
    report = Training([spec], few, torch.device("cpu")).diagnose(0)
    layers = [layer.model_copy(update={"update_ratio": update_ratio}) for layer in report.layers]
    return report.model_copy(update={"verdict": verdict, "layers": layers})


def test_a_validation_loss_that_rises_is_overfitting_and_says_since_when() -> None:
    risen, good = metrics_of(0.99, 0.3, 0.1, 0.12, 0.2), evaluation_of(0.98)
    found = outcome_of(TrainingRecord(4, "adam", risen, None, None, good))
    assert found.kind == "overfits"
    assert "has risen since epoch 2, from 0.100 to 0.200." in found.reason
    level = outcome_of(TrainingRecord(3, "adam", metrics_of(0.99, 0.3, 0.1, 0.105), None, None, good))
    assert (level.kind, level.reason) == ("learned", "98.0% of 10,000 test images are right.")


def test_weights_that_stand_still_need_a_larger_rate_and_without_a_record_there_is_no_cause(few: DataSet) -> None:
    still = record_of(few, "fine", update_ratio=1e-7)
    found = outcome_of(TrainingRecord(4, "sgd", metrics_of(0.1), still, still, evaluation_of(0.1)))
    assert "hardly change: by 1e-07 of their norm" in found.reason
    assert found.remedy == "Use a larger learning rate, or more epochs."
    found = outcome_of(TrainingRecord(4, "sgd", metrics_of(0.3), None, None, evaluation_of(0.3)))
    assert found.kind == "learned_little"
    assert "No layer record names a cause." in found.reason


@pytest.mark.parametrize("begins", REMEDIES)
def test_every_problem_of_a_verdict_has_a_remedy(begins: str, few: DataSet) -> None:
    found = outcome_of(
        TrainingRecord(1, "sgd", metrics_of(0.1), None, record_of(few, f"{begins}: x"), evaluation_of(0.1))
    )
    assert found.remedy == REMEDIES[begins]


def test_a_loss_that_is_not_finite_is_the_outcome_itself() -> None:
    assert diverged("The loss became nan.", "Smaller.") == Outcome(
        kind="diverged", reason="The loss became nan.", remedy="Smaller."
    )
