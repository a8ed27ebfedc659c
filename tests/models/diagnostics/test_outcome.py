"""What came of a training: networks that are really trained, and the cases that they do not show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.outcome import OTHER_REMEDY, REMEDIES, Ending, Outcome, diverged, outcome_of
from models.diagnostics.report import LayerDiagnostics, verdict_on
from models.init.base import Scheme
from models.init.by_fans import HeNormal, XavierNormal
from models.init.constants import Constant, Zeros
from models.init.fixed_scale import Normal
from models.network.architecture import Architecture
from models.spec import SGD, TrainSpec
from models.training.train import Training

DEEP_TANH = Architecture(hidden=(40,) * 10, activation="tanh")


def trained(data: DataSet, scheme: Scheme, **changes: Any) -> Outcome:
    spec = TrainSpec(architecture=Architecture(hidden=(64, 32)), init=scheme, data="mnist_5k", epochs=8)
    spec = spec.model_copy(update=changes)
    training = Training([spec], data, torch.device("cpu"))
    first, accuracy = training.diagnose(0), None
    while not training.finished:
        accuracy = training.run_epoch()[0].train_accuracy
    last, evaluation = training.diagnose(0) if spec.epochs else None, training.evaluate(0)
    return outcome_of(
        Ending(
            spec.epochs,
            spec.optimizer.name,
            spec.pretrains,
            evaluation.accuracy,
            evaluation.n,
            evaluation.evaluated_on,
            max(one.n for one in evaluation.per_class) / evaluation.n,
            train_accuracy=accuracy,
            first_verdict=first.verdict,
            last_verdict=last.verdict if last else None,
        )
    )


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


def test_no_epochs_are_no_failure(five_thousand: DataSet) -> None:
    found = trained(five_thousand, XavierNormal(), epochs=0)
    assert (found.kind, found.remedy) == ("untrained", "Ask for epochs.")


# -- made up -----------------------------------------------------------------------------------------------


LEARNED = Ending(4, "adam", False, 0.98, 10_000, "mnist_test", 0.1135, train_accuracy=0.99)
FAILED = LEARNED._replace(optimizer="sgd", accuracy=0.1, train_accuracy=0.1)


def test_a_validation_loss_that_rises_is_overfitting_and_says_since_when() -> None:
    found = outcome_of(LEARNED._replace(validation_losses=[(1, 0.3), (2, 0.1), (3, 0.12), (4, 0.2)]))
    assert found.kind == "overfits"
    assert "has risen since epoch 2, from 0.100 to 0.200." in found.reason
    level = outcome_of(LEARNED._replace(validation_losses=[(1, 0.3), (2, 0.1), (3, 0.105)]))
    assert (level.kind, level.reason) == ("learned", "98.0% of 10,000 test images are right.")


def test_a_network_that_learns_although_its_preview_warned_says_why() -> None:
    warned = LEARNED._replace(first_verdict="gradient dies: 9e-06 of it reaches layer 1", last_verdict="fine")
    by_adam = outcome_of(warned)
    assert by_adam.kind == "learned"
    assert "Before training: gradient dies: 9e-06 of it reaches layer 1." in by_adam.reason
    assert "Adam divides each gradient by its own size" in by_adam.reason
    assert "Training has changed that." in outcome_of(warned._replace(optimizer="sgd")).reason
    still = warned._replace(optimizer="sgd", last_verdict="saturated: 60% of layer 2")
    assert "It has learned all the same." in outcome_of(still).reason


def test_a_network_that_is_pre_trained_alone_is_not_called_initial() -> None:
    found = outcome_of(LEARNED._replace(epochs=0, pretrains=True))
    assert found.reason == "98.0% of 10,000 test images are right, by its pre-training alone."


def test_weights_that_stand_still_need_a_larger_rate_and_without_a_record_there_is_no_cause() -> None:
    still = outcome_of(FAILED._replace(first_verdict="fine", last_verdict="fine", update_ratio=1e-7))
    assert "hardly change: by 1e-07 of their norm" in still.reason
    assert still.remedy == "Use a larger learning rate, or more epochs."
    unknown = outcome_of(FAILED._replace(accuracy=0.3))
    assert unknown.kind == "learned_little"
    assert "No layer record names a cause." in unknown.reason


LAYER = {
    **dict.fromkeys(LayerDiagnostics.model_fields),
    "layer": 1,
    "fan_in": 9,
    "fan_out": 9,
    "distinct_units": 9,
    "z_rms": 1.0,
    "dz_rms": 1.0,
    "z_share": 0.5,
    "z_cosine": 0.5,
}
PROBLEMS: dict[str, list[dict[str, Any]]] = {
    "symmetry": [{"distinct_units": 1}, {}, {}],
    "signal overflows": [{}, {"z_rms": None}, {}],
    "signal dies": [{}, {"z_rms": 1e-9}, {}],
    "signal explodes": [{}, {"z_rms": 1e9}, {}],
    "images look alike": [{}, {"z_share": 1e-9}, {}],
    "gradient dies": [{"dz_rms": 1e-9}, {}, {}],
    "gradient explodes": [{"dz_rms": 1e9}, {}, {}],
    "dead units": [{}, {"dead_fraction": 0.9}, {}],
    "saturated": [{}, {"saturated_fraction": 0.9}, {}],
}


@pytest.mark.parametrize("begins", PROBLEMS)
def test_every_problem_that_a_record_can_name_has_a_remedy(begins: str) -> None:
    verdict = verdict_on([LayerDiagnostics.model_validate(LAYER | changes) for changes in PROBLEMS[begins]])
    assert verdict.startswith(begins)
    assert outcome_of(FAILED._replace(last_verdict=verdict)).remedy == REMEDIES[begins]


def test_a_problem_of_another_version_has_a_remedy_too() -> None:
    assert outcome_of(FAILED._replace(last_verdict="something else: 1")).remedy == OTHER_REMEDY


def test_a_loss_that_is_not_finite_is_the_outcome_itself() -> None:
    assert diverged("The loss became nan.", "Smaller.") == Outcome(
        kind="diverged", reason="The loss became nan.", remedy="Smaller."
    )
