"""Evaluate a network on digits that it was not trained on."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from models.network.activations import ACTIVATIONS
from models.network.stack import NetworkStack
from models.results import ClassAccuracy, EvaluationRecord, expected_calibration_error, wilson_interval
from models.vocabulary import CLASSES, PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.data.mnist import DataSet, Digits
    from models.network.mlp import Network

CHUNK_IMAGES = 2000
VALUES_AT_ONCE = {"cpu": 1, "cuda": 2**25}
"""Pre-activations, for a chunk of images, of the networks that a device evaluates together; at least one network. They
are in memory twice: 256 MB. A CPU is faster with one network at a time, which its caches hold."""
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


def logits(network: Network, shares: torch.Tensor) -> torch.Tensor:
    """Return the network's outputs [n, 10] before softmax, for shares of ink [n, 784] in [0, 1]."""
    stack = NetworkStack.of([network], shares.device)
    return _outputs_after(stack, stack.first_preactivations(shares))[0]


def _outputs_after(stack: NetworkStack, z: torch.Tensor) -> torch.Tensor:
    """Return the networks' outputs, given their first layers' pre-activations `z`, which may be overwritten."""
    kernels = ACTIVATIONS[stack.activation]
    for number in range(1, len(stack.weights)):
        h = z if kernels.in_place else torch.empty_like(z)
        kernels.forward(z, h)
        z = stack.preactivations(number, h)
    return z


def count(network: Network, digits: Digits, device: torch.device = CPU, *, also_on_raw: bool = False) -> Count:
    """Classify all digits by one network; see `count_all`."""
    return count_all([network], digits, device, also_on_raw=also_on_raw)[0]


def count_all(
    networks: Sequence[Network], digits: Digits, device: torch.device = CPU, *, also_on_raw: bool = False
) -> list[Count]:
    """Classify all digits by networks of one architecture, with pixels in [0, 1] as in training; return the counts.

    They are computed on a device, with as many networks at once as its memory should hold. `also_on_raw` adds the right
    answers to pixels 0..255. That costs little: the first layer, which is most of the work, is affine, so that its
    outputs are 255 (z - z0) + z0, where z are those that were computed already and z0 are those for a black image.
    """
    images = torch.tensor(digits.images.reshape(-1, PIXELS)).to(device)
    labels = torch.tensor(digits.labels, dtype=torch.int64).to(device)
    values = CHUNK_IMAGES * sum(len(layer.bias) for layer in networks[0].layers)
    at_once = max(1, VALUES_AT_ONCE[device.type] // values)
    counts: list[Count] = []
    for first in range(0, len(networks), at_once):
        stack = NetworkStack.of(networks[first : first + at_once], device)
        counts += _counted(stack, images, labels, also_on_raw=also_on_raw)
    return counts


def _counted(stack: NetworkStack, images: torch.Tensor, labels: torch.Tensor, *, also_on_raw: bool) -> list[Count]:
    networks, device = len(stack), images.device
    of_black = stack.first_preactivations(torch.zeros(1, PIXELS, device=device))
    confusion = torch.zeros(networks * CLASSES * CLASSES, dtype=torch.int64, device=device)
    first_places = torch.arange(networks, device=device)[:, None] * CLASSES * CLASSES
    loss_sums, right, confidences = torch.zeros(networks, dtype=torch.float64, device=device), [], []
    hits_on_raw = torch.zeros(networks, dtype=torch.int64, device=device)
    for image_chunk, label_chunk in zip(
        torch.split(images, CHUNK_IMAGES), torch.split(labels, CHUNK_IMAGES), strict=True
    ):
        z = stack.first_preactivations(image_chunk.to(torch.float32).div_(255.0))
        if also_on_raw:
            outputs_on_raw = _outputs_after(stack, (z - of_black).mul_(255.0).add_(of_black))
            hits_on_raw += (outputs_on_raw.argmax(2) == label_chunk).sum(1)
        outputs = _outputs_after(stack, z)
        log_p = torch.log_softmax(outputs, 2)
        loss_sums -= log_p.gather(2, label_chunk[None, :, None].expand(networks, -1, -1)).sum((1, 2))
        confidences.append(torch.softmax(outputs, 2).amax(2).double())
        answers = outputs.argmax(2)
        places = first_places + label_chunk * CLASSES + answers
        confusion += torch.bincount(places.flatten(), minlength=len(confusion))
        right.append(answers == label_chunk)
    matrices = confusion.view(networks, CLASSES, CLASSES).cpu()
    of_images = zip(torch.cat(right, 1).cpu(), torch.cat(confidences, 1).cpu(), strict=True)
    raw = hits_on_raw.tolist() if also_on_raw else [None] * networks
    return [
        Count(matrix, loss_sum / len(labels), *of_network, hits)
        for matrix, loss_sum, of_network, hits in zip(matrices, loss_sums.tolist(), of_images, raw, strict=True)
    ]


def _calibration_error(counts: Count) -> float | None:
    confidences = counts.confidences.numpy()
    if not np.isfinite(confidences).all():
        return None
    return expected_calibration_error(confidences, counts.right.numpy())


def evaluate(network: Network, data: DataSet, device: torch.device = CPU) -> EvaluationRecord:
    """Return the evaluation of one network; see `evaluate_all`."""
    return evaluate_all([network], data, device)[0]


def evaluate_all(networks: Sequence[Network], data: DataSet, device: torch.device = CPU) -> list[EvaluationRecord]:
    """Return the evaluations of networks of one architecture on the test part of `data`, computed on a device."""
    return [_record(counts, data) for counts in count_all(networks, data.test, device, also_on_raw=True)]


def _record(counts: Count, data: DataSet) -> EvaluationRecord:
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
