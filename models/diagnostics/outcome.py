"""What came of a training, why, and what to do about it: from its metrics, its layer records and its evaluation.

Values only; this file does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

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


class Ending(NamedTuple):
    """What is known of a training at its end.

    `accuracy` is on `n` images of `evaluated_on`, the most frequent digit of which has the share `chance`.
    `validation_losses` are (epoch, loss); `train_accuracy` is that of the last epoch. `first_verdict` and
    `last_verdict` are those of the layer records before and after training, and `update_ratio` is the largest of the
    last one; None where there is no record.
    """

    epochs: int
    optimizer: str
    pretrains: bool
    accuracy: float
    n: int
    evaluated_on: str
    chance: float
    validation_losses: Sequence[tuple[int, float]] = ()
    train_accuracy: float | None = None
    first_verdict: str | None = None
    last_verdict: str | None = None
    update_ratio: float | None = None


def outcome_of(ending: Ending) -> Outcome:
    """Return what came of a training that has ended well."""
    images = "test images" if ending.evaluated_on == "mnist_test" else "held-out images"
    right = f"{ending.accuracy:.1%} of {ending.n:,} {images} are right"
    if ending.epochs == 0:
        by = "by its pre-training alone" if ending.pretrains else "by the initial weights"
        return Outcome(kind="untrained", reason=f"{right}, {by}.", remedy="Ask for epochs.")
    if ending.accuracy < LEARNED:
        cause, remedy = _cause(ending)
        if ending.accuracy < ending.chance + ABOVE_CHANCE:
            one_answer = f"{right}; one answer to all would be right on {ending.chance:.1%}"
            return Outcome(kind="did_not_learn", reason=f"{one_answer}. {cause}", remedy=remedy)
        return Outcome(kind="learned_little", reason=f"{right}. {cause}", remedy=remedy)
    overfitted = _overfitted(ending)
    if overfitted is not None:
        remedy = "Use fewer epochs, more training images, or weight_decay."
        return Outcome(kind="overfits", reason=f"{right}. {overfitted}", remedy=remedy)
    return Outcome(kind="learned", reason=f"{right}.{_in_spite_of(ending)}", remedy=None)


def diverged(detail: str, hint: str | None) -> Outcome:
    """Return the outcome of a training whose loss was not finite."""
    return Outcome(kind="diverged", reason=detail, remedy=hint)


def _cause(ending: Ending) -> tuple[str, str]:
    """Return why a training came to little, and the remedy."""
    for verdict, when in ((ending.last_verdict, "After training"), (ending.first_verdict, "Before training")):
        if verdict is not None and verdict != FINE:
            worst = verdict.split("; ")[0]
            remedies = (remedy for begins, remedy in REMEDIES.items() if worst.startswith(begins))
            return f"{when}: {verdict}.", next(remedies, OTHER_REMEDY)
    if ending.update_ratio is not None and ending.update_ratio < STILL:
        cause = f"Its weights hardly change: by {ending.update_ratio:.0e} of their norm since the record before."
        return cause, "Use a larger learning rate, or more epochs."
    return "No layer record names a cause.", OTHER_REMEDY


def _overfitted(ending: Ending) -> str | None:
    if ending.validation_losses:
        epoch, least = min(ending.validation_losses, key=lambda one: one[1])
        last = ending.validation_losses[-1][1]
        if last > RISEN * least:
            return (
                f"The loss on held-out training images has risen since epoch {epoch}, from {least:.3f} to {last:.3f}."
            )
    if ending.train_accuracy is not None and ending.train_accuracy - ending.accuracy > OVERFITTED_GAP:
        return f"In the last epoch {ending.train_accuracy:.1%} of the training images were right."
    return None


def _in_spite_of(ending: Ending) -> str:
    """Say why a network has learned although its first record was not fine; nothing if it was."""
    if ending.first_verdict is None or ending.first_verdict == FINE:
        return ""
    said = f" Before training: {ending.first_verdict}."
    if ending.optimizer == "adam" and "dies" in ending.first_verdict:
        return f"{said} Adam divides each gradient by its own size, so that small ones still change the weights."
    return (
        f"{said} Training has changed that." if ending.last_verdict == FINE else f"{said} It has learned all the same."
    )
