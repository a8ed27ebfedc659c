"""Evaluate a network on digits that it was not trained on."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from models.network.activations import ACTIVATIONS
from models.results import ClassAccuracy, EvaluationRecord, expected_calibration_error, wilson_interval
from models.vocabulary import CLASSES, PIXELS

if TYPE_CHECKING:
    from models.data.mnist import DataSet, Digits
    from models.network.mlp import Layer, Network

CHUNK_IMAGES = 2000
CPU = torch.device("cpu")


class Count(NamedTuple):
    """The counts of one pass over digits: confusion int64 [10, 10] (label, answer), mean loss in nats an image.

    `right` bool [n] says which images are answered correctly, `confidences` float64 [n] are the probabilities of the
    answers. `hits_on_raw` is how many answers are right when the same images are given as pixels 0..255; None if that
    was not requested.
    """

    confusion: torch.Tensor
    mean_loss: float
    right: torch.Tensor
    confidences: torch.Tensor
    hits_on_raw: int | None

    @property
    def hits(self) -> int:
        """Return the number of right answers."""
        return int(self.confusion.diagonal().sum())

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return self.hits / int(self.confusion.sum())


def logits(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """Return the network's outputs [n, 10] before softmax, for inputs [n, 784] scaled as in training."""
    return _outputs_after(network, _through(network.layers[0], inputs))


def _through(layer: Layer, h: torch.Tensor) -> torch.Tensor:
    return torch.addmm(layer.bias, h, layer.weight.t())


def _outputs_after(network: Network, z: torch.Tensor) -> torch.Tensor:
    """Return the network's outputs, given its first layer's pre-activations `z`, which may be overwritten."""
    kernels = ACTIVATIONS[network.activation]
    for layer in network.layers[1:]:
        h = z if kernels.in_place else torch.empty_like(z)
        kernels.forward(z, h)
        z = _through(layer, h)
    return z


def count(network: Network, digits: Digits, device: torch.device = CPU, *, also_on_raw: bool = False) -> Count:
    """Classify all digits on a device, with pixels in [0, 1] as in training, and return the counts.

    `also_on_raw` adds the right answers to pixels 0..255. That costs little: the first layer, which is most of the
    work, is affine, so that its outputs W 255 x + b are 255 (z - b) + b, where z are those that were computed already.
    """
    network = network.to(device)
    images = torch.tensor(digits.images.reshape(-1, PIXELS)).to(device)
    labels = torch.tensor(digits.labels, dtype=torch.int64).to(device)
    confusion = torch.zeros(CLASSES * CLASSES, dtype=torch.int64, device=device)
    loss_sum, right, confidences = torch.zeros((), dtype=torch.float64, device=device), [], []
    hits_on_raw = torch.zeros((), dtype=torch.int64, device=device)
    first = network.layers[0]
    for image_chunk, label_chunk in zip(
        torch.split(images, CHUNK_IMAGES), torch.split(labels, CHUNK_IMAGES), strict=True
    ):
        z = _through(first, image_chunk.to(torch.float32).div_(255.0))
        if also_on_raw:
            outputs_on_raw = _outputs_after(network, (z - first.bias).mul_(255.0).add_(first.bias))
            hits_on_raw += (outputs_on_raw.argmax(1) == label_chunk).sum()
        outputs = _outputs_after(network, z)
        loss_sum += torch.nn.functional.cross_entropy(outputs, label_chunk, reduction="sum")
        confidences.append(torch.softmax(outputs, 1).amax(1).double())
        answers = outputs.argmax(1)
        confusion += torch.bincount(label_chunk * CLASSES + answers, minlength=CLASSES * CLASSES)
        right.append(answers == label_chunk)
    return Count(
        confusion.view(CLASSES, CLASSES).cpu(),
        float(loss_sum) / len(labels),
        torch.cat(right).cpu(),
        torch.cat(confidences).cpu(),
        int(hits_on_raw) if also_on_raw else None,
    )


def _calibration_error(counts: Count) -> float | None:
    confidences = counts.confidences.numpy()
    if not np.isfinite(confidences).all():
        return None
    return expected_calibration_error(confidences, counts.right.numpy())


def evaluate(network: Network, data: DataSet, device: torch.device = CPU) -> EvaluationRecord:
    """Return the evaluation of `network` on the test part of `data`, computed on a device."""
    counts = count(network, data.test, device, also_on_raw=True)
    is_test_set = data.evaluated_on == "mnist_test"
    n = len(data.test.labels)
    assert counts.hits_on_raw is not None
    raw255 = counts.hits_on_raw / n
    return EvaluationRecord(
        accuracy=counts.accuracy,
        evaluated_on=data.evaluated_on,
        n=n,
        accuracy_interval=wilson_interval(counts.hits, n),
        test_accuracy=counts.accuracy if is_test_set else None,
        test_accuracy_raw255=raw255 if is_test_set else None,
        accuracy_raw255=raw255,
        expected_calibration_error=_calibration_error(counts),
        mean_negative_log_likelihood=counts.mean_loss if math.isfinite(counts.mean_loss) else None,
        per_class=[
            ClassAccuracy(digit=digit, n=int(row.sum()), accuracy=int(row[digit]) / int(row.sum()))
            for digit, row in enumerate(counts.confusion)
        ],
        confusion_matrix=counts.confusion.tolist(),
        right_bits=base64.b64encode(np.packbits(counts.right.numpy()).tobytes()).decode(),
    )
