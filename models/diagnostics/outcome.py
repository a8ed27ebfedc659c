"""What came of a training, why, and what to do about it: from its metrics, its layer records and its evaluation.

Values only; this file does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics, Evaluation

OutcomeKind = Literal["learned", "learned_little", "overfits", "did_not_learn", "diverged", "untrained"]

LEARNED, ABOVE_CHANCE = 0.8, 0.1
"""Accuracy from which a network has learned, and how far above that of one answer to all images it learned little."""
OVERFITTED_GAP, RISEN = 0.03, 1.1
"""Of training accuracy above that on other images; and of the last validation loss over the least one."""
STILL = 1e-5
"""Of |W - W before| / |W|: below it weights hardly change between two records."""
FINE = "fine"

REMEDIES = {
    "symmetry": "Draw the weights at random: he_normal for ReLU, xavier_normal for tanh.",
    "signal dies": "Start from larger weights: he_normal for ReLU, xavier_normal for tanh; or use fewer layers.",
    "signal explodes": "Start from smaller weights: he_normal for ReLU, xavier_normal for tanh.",
    "signal overflows": "Start from smaller weights, and use a smaller learning rate.",
    "images look alike": "Start from biases of 0, and he_normal for ReLU, xavier_normal for tanh; or use fewer layers.",
    "gradient dies": "Start from larger weights: he_normal for ReLU, xavier_normal for tanh; or use fewer layers.",
    "gradient explodes": "Start from smaller weights, or use a smaller learning rate.",
    "dead units": "Use a smaller learning rate, or leaky_relu.",
    "saturated": "Start from smaller weights, or use a smaller learning rate.",
}
"""By how a problem in a record's verdict begins."""
OTHER_REMEDY = "Use another learning rate, more epochs, or another scheme."


class Outcome(BaseModel):
    """What came of a training that has ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: OutcomeKind = Field(
        description="learned: at least 80 % of the images are right; learned_little: fewer; did_not_learn: less than "
        "10 points more than by one answer to all images; overfits: learned, but training images are right more often, "
        "or the validation loss has risen; diverged: the loss was not finite; untrained: no epochs."
    )
    reason: str = Field(description="Why, in one or two sentences.")
    remedy: str | None = Field(description="What to do about it; null if nothing is to be done.")


class TrainingRecord(NamedTuple):
    """What is known of a training at its end; `first` and `last` are its layer records, None if none were made."""

    epochs: int
    optimizer: str
    metrics: Sequence[EpochMetrics]
    first: Diagnostics | None
    last: Diagnostics | None
    evaluation: Evaluation


def outcome_of(training: TrainingRecord) -> Outcome:
    """Return what came of a training that has ended well."""
    evaluation = training.evaluation
    right = f"{evaluation.accuracy:.1%} of {evaluation.n:,} {_images(evaluation)} are right"
    if training.epochs == 0:
        return Outcome(kind="untrained", reason=f"{right}, by the initial weights.", remedy="Ask for epochs.")
    chance = max(one.n for one in evaluation.per_class) / evaluation.n
    if evaluation.accuracy < LEARNED:
        cause, remedy = _cause(training)
        if evaluation.accuracy < chance + ABOVE_CHANCE:
            one_answer = f"{right}; one answer to all would be right on {chance:.1%}"
            return Outcome(kind="did_not_learn", reason=f"{one_answer}. {cause}", remedy=remedy)
        return Outcome(kind="learned_little", reason=f"{right}. {cause}", remedy=remedy)
    overfitted = _overfitted(training)
    if overfitted is not None:
        remedy = "Use fewer epochs, more training images, or weight_decay."
        return Outcome(kind="overfits", reason=f"{right}. {overfitted}", remedy=remedy)
    return Outcome(kind="learned", reason=f"{right}.{_in_spite_of(training)}", remedy=None)


def diverged(detail: str, hint: str | None) -> Outcome:
    """Return the outcome of a training whose loss was not finite."""
    return Outcome(kind="diverged", reason=detail, remedy=hint)


def _images(evaluation: Evaluation) -> str:
    return "test images" if evaluation.evaluated_on == "mnist_test" else "held-out images"


def _cause(training: TrainingRecord) -> tuple[str, str]:
    """Return why a training came to little, and the remedy."""
    for record, when in ((training.last, "After training"), (training.first, "Before training")):
        if record is not None and record.verdict != FINE:
            worst = record.verdict.split("; ")[0]
            remedies = (remedy for begins, remedy in REMEDIES.items() if worst.startswith(begins))
            return f"{when}: {record.verdict}.", next(remedies, OTHER_REMEDY)
    ratios = [] if training.last is None else [layer.update_ratio for layer in training.last.layers]
    known = [ratio for ratio in ratios if ratio is not None]
    if known and max(known) < STILL:
        cause = f"Its weights hardly change: by {max(known):.0e} of their norm since the record before."
        return cause, "Use a larger learning rate, or more epochs."
    return "No layer record names a cause.", OTHER_REMEDY


def _overfitted(training: TrainingRecord) -> str | None:
    losses = [(one.validation_loss, one.epoch) for one in training.metrics if one.validation_loss is not None]
    if losses:
        least, epoch = min(losses)
        last = losses[-1][0]
        if last > RISEN * least:
            return (
                f"The loss on held-out training images has risen since epoch {epoch}, from {least:.3f} to {last:.3f}."
            )
    trained = training.metrics[-1].train_accuracy if training.metrics else 0.0
    if trained - training.evaluation.accuracy > OVERFITTED_GAP:
        return f"In the last epoch {trained:.1%} of the training images were right."
    return None


def _in_spite_of(training: TrainingRecord) -> str:
    """Say why a network has learned although its first record was not fine; nothing if it was."""
    if training.first is None or training.first.verdict == FINE:
        return ""
    said = f" Before training: {training.first.verdict}."
    if training.optimizer == "adam" and "dies" in training.first.verdict:
        return f"{said} Adam divides each gradient by its own size, so that small ones still change the weights."
    return f"{said} Training has changed that." if _is_fine(training.last) else f"{said} It has learned all the same."


def _is_fine(record: Diagnostics | None) -> bool:
    return record is not None and record.verdict == FINE
