"""Run a network over digits it was not trained on, and count."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from models.activations import ACTIVATIONS
from models.results import ClassAccuracy, Evaluation, expected_calibration_error, wilson_interval
from models.spec import CLASSES, PIXELS

if TYPE_CHECKING:
    from models.data import DataSet, Digits
    from models.mlp import Network

CHUNK_IMAGES = 2000
CPU = torch.device("cpu")


class Count(NamedTuple):
    """What one pass over digits found: confusion int64 [10, 10] (label, answer), mean loss in nats an image.

    `right` bool [n] says which images are right, `confidences` float64 [n] how probable the answers are said to be.
    """

    confusion: torch.Tensor
    mean_loss: float
    right: torch.Tensor
    confidences: torch.Tensor

    @property
    def hits(self) -> int:
        """Return the number of right answers."""
        return int(self.confusion.diagonal().sum())

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        return self.hits / int(self.confusion.sum())


def logits(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """Return the network's outputs [n, 10] before softmax, for inputs [n, 784] as it was trained on."""
    kernels = ACTIVATIONS[network.activation]
    h = inputs
    for layer in network.layers[:-1]:
        z = torch.addmm(layer.bias, h, layer.weight.t())
        h = z if kernels.in_place else torch.empty_like(z)
        kernels.forward(z, h)
    return torch.addmm(network.layers[-1].bias, h, network.layers[-1].weight.t())


def count(network: Network, digits: Digits, device: torch.device = CPU, *, divisor: float = 255.0) -> Count:
    """Answer all digits on a device and count; pixels are divided by `divisor` first (255 as in training)."""
    network = network.to(device)
    images = torch.tensor(digits.images.reshape(-1, PIXELS)).to(device)
    labels = torch.tensor(digits.labels, dtype=torch.int64).to(device)
    confusion = torch.zeros(CLASSES * CLASSES, dtype=torch.int64, device=device)
    loss_sum, right, confidences = torch.zeros((), dtype=torch.float64, device=device), [], []
    for image_chunk, label_chunk in zip(
        torch.split(images, CHUNK_IMAGES), torch.split(labels, CHUNK_IMAGES), strict=True
    ):
        outputs = logits(network, image_chunk.to(torch.float32).div_(divisor))
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
    )


def _calibration_error(found: Count) -> float | None:
    confidences = found.confidences.numpy()
    if not np.isfinite(confidences).all():
        return None
    return expected_calibration_error(confidences, found.right.numpy())


def evaluate(network: Network, data: DataSet, device: torch.device = CPU) -> Evaluation:
    """Evaluate `network` on the test part of `data`, on a device."""
    found = count(network, data.test, device)
    raw255 = count(network, data.test, device, divisor=1.0).accuracy
    is_test_set = data.evaluated_on == "mnist_test"
    n = len(data.test.labels)
    return Evaluation(
        accuracy=found.accuracy,
        evaluated_on=data.evaluated_on,
        n=n,
        accuracy_interval=wilson_interval(found.hits, n),
        test_accuracy=found.accuracy if is_test_set else None,
        test_accuracy_raw255=raw255 if is_test_set else None,
        accuracy_raw255=raw255,
        expected_calibration_error=_calibration_error(found),
        mean_negative_log_likelihood=found.mean_loss if math.isfinite(found.mean_loss) else None,
        per_class=[
            ClassAccuracy(digit=digit, n=int(row.sum()), accuracy=int(row[digit]) / int(row.sum()))
            for digit, row in enumerate(found.confusion)
        ],
        confusion_matrix=found.confusion.tolist(),
        right_bits=base64.b64encode(np.packbits(found.right.numpy()).tobytes()).decode(),
    )
