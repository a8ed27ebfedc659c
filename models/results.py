"""The results of training and evaluation: the numbers of one epoch, and the evaluation of one model.

The service stores and shows these values; this file does not import torch.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.vocabulary import EvaluatedOn

NORMAL_QUANTILE_975 = 1.959963984540054


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EpochMetrics(_Result):
    """The numbers of one pass over the training images."""

    epoch: int = Field(ge=1, description="Number of the epoch, from 1.")
    train_loss_mean: float = Field(
        description="Mean cross entropy over all images of the epoch, each at its own step, in nats an image."
    )
    train_loss_last_batch: float = Field(description="Mean cross entropy of the epoch's last batch, in nats an image.")
    first_step_below_2: int | None = Field(
        None,
        description="First step, counted over all epochs, at which the mean loss of the last ten steps, all of this "
        "epoch, is below 2.0; null if there is none.",
    )
    train_losses: list[float] = Field(
        [],
        description="Mean losses of equal parts of the epoch, in order: at most 200 of all epochs together, and none "
        "beyond 100 epochs.",
    )
    train_accuracy: float = Field(ge=0, le=1, description="Share of images answered correctly at their own step.")
    duration_s: float = Field(
        ge=0,
        description="Seconds of training, without evaluation and checkpoint. On a CPU, where the models of a run take "
        "turns, an equal share of their time; on a GPU they train at the same time.",
    )
    images_per_s: float = Field(ge=0, description="Training images a second.")
    validation_loss: float | None = Field(None, description="Mean cross entropy of the held-out training images.")
    validation_accuracy: float | None = Field(None, description="Accuracy on the held-out training images.")
    test_accuracy: float | None = Field(None, description="Accuracy on the MNIST test set; only with test_curve.")


def first_step_below_2(metrics: Iterable[EpochMetrics]) -> int | None:
    """Return the first step of all epochs at which the mean loss of ten steps was below 2.0; None if it never was."""
    return min((epoch.first_step_below_2 for epoch in metrics if epoch.first_step_below_2 is not None), default=None)


class PretrainMetrics(_Result):
    """The numbers of one pass over the training images by one layer's restricted Boltzmann machine."""

    number: int = Field(ge=1, description="Number of the epoch over all layers, from 1.")
    layer: int = Field(ge=1, description="The hidden layer, from 1.")
    epoch: int = Field(ge=1, description="Number of the epoch of this layer, from 1.")
    reconstruction_error: float = Field(description="Mean over images of |data - reconstruction|^2.")
    free_energy_gap: float | None = Field(
        description="Mean free energy of held-out images minus that of training images, in nats; growth is "
        "overfitting. Null without held-out images."
    )
    reconstruction_kl: float | None = Field(
        None,
        ge=0,
        description="Actual against recreation: mean over 1,000 learned images of sum_i KL(x_i, r_i), in nats, after "
        "one step of sampling; numbers in [0, 1] are read as probabilities. Null in epochs before this was measured.",
    )
    pseudo_log_likelihood: float | None = Field(
        None,
        description="Mean over the same images of sum_i log p(v_i | the other v), estimated from one bit an image, in "
        "nats. Null in epochs before this was measured.",
    )
    hidden_activity: float = Field(ge=0, le=1, description="Mean probability that a hidden unit is on.")
    weight_std: float = Field(description="Standard deviation of the weights.")
    weight_absmax: float = Field(description="Largest magnitude of a weight.")
    update_ratio: float | None = Field(description="Norm of the last step over the norm of the weights; about 0.001.")
    duration_s: float = Field(ge=0, description="Seconds of pre-training, without the checkpoint.")
    images_per_s: float = Field(ge=0, description="Training images a second.")


class Interval(_Result):
    """A confidence interval of a proportion."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    level: float = Field(0.95, description="Confidence level.")
    method: str = Field("wilson", description="Wilson's score interval (Wilson 1927).")


class ClassAccuracy(_Result):
    """The accuracy on one digit."""

    digit: int
    n: int = Field(description="Images of this digit.")
    accuracy: float


class Evaluation(_Result):
    """The evaluation of a model on digits that it was not trained on."""

    accuracy: float = Field(ge=0, le=1, description="Share of images of `evaluated_on` that are answered correctly.")
    evaluated_on: EvaluatedOn = Field(description="Which images: the MNIST test set, or held-out training digits.")
    n: int = Field(description="Number of these images.")
    accuracy_interval: Interval = Field(description="95 % interval of `accuracy`.")
    test_accuracy: float | None = Field(description="`accuracy` if it is of the MNIST test set, else null.")
    test_accuracy_raw255: float | None = Field(
        description="What the course's notebooks print: the MNIST test set fed as raw pixels 0..255 to a network that "
        "was trained on 0..1. Shown to compare with the course; it is not the accuracy of the model."
    )
    accuracy_raw255: float = Field(description="The same on `evaluated_on`.")
    mean_negative_log_likelihood: float | None = Field(
        description="Mean of -log p(label), in nats an image; null where it overflows float32."
    )
    expected_calibration_error: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Mean gap between the probability of an answer and the share of right answers, over 15 bins (Guo "
        "et al. 2017); null in evaluations made before this was measured.",
    )
    per_class: list[ClassAccuracy] = Field(description="Accuracy of each digit.")
    confusion_matrix: list[list[int]] = Field(description="Counts; row is the label, column the answer.")


class EvaluationRecord(Evaluation):
    """An evaluation as it is stored, with which images were right, for exact comparisons of two models."""

    right_bits: str | None = Field(
        None,
        description="Which images are right, in base64: one bit per image, from the highest bit of the first byte on.",
    )

    def right(self) -> NDArray[np.bool_] | None:
        """Return whether each image is right, bool [n]; None for evaluations made before this was stored."""
        if self.right_bits is None:
            return None
        packed = np.frombuffer(base64.b64decode(self.right_bits), dtype=np.uint8)
        return np.unpackbits(packed, count=self.n).astype(np.bool_)


CALIBRATION_BINS = 15


def expected_calibration_error(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error of answers: the mean gap between their probabilities and their accuracy.

    ECE = sum over bins of |B| / n |accuracy(B) - mean confidence(B)|, in 15 bins of equal width over the probability of
    the answer (Guo et al. 2017, equations 3 to 5). `confidences` [n] in [0, 1], `right` [n].
    """
    bins = np.clip(np.ceil(confidences * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidences, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidences))


def wilson_interval(hits: int, n: int) -> Interval:
    """Return Wilson's 95 % score interval of `hits` out of `n` > 0.

    center = (p + z^2/2n) / (1 + z^2/n), half width = z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n).
    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    z, share = NORMAL_QUANTILE_975, hits / n
    scale = 1 + z * z / n
    center = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    return Interval(low=max(0.0, center - half), high=min(1.0, center + half))
