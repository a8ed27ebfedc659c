"""The errors that `models` raises, as one tree.

    FaninError
    |-- InvalidSpec          a training spec contradicts itself or the data
    |-- InvalidImage         an image cannot be read as 28x28 digits
    |-- DataMissing          the requested data set is missing and cannot be downloaded
    |-- DataDamaged          a data file does not have its known checksum
    |-- CheckpointDamaged    a checkpoint file does not match its row or its header
    |-- LossNotFinite        training diverged
    |-- EngineMissing        this installation cannot train with the requested engine
    |-- OutputNotFinite      a model's outputs overflow, so that it has no probabilities
    `-- Interrupted          the caller stopped a training between two steps

Every error names its cause (`detail`) and, where there is one, a remedy (`hint`).
"""

from __future__ import annotations


class FaninError(Exception):
    """Base of all errors that Fanin raises on purpose.

    `detail` is one sentence about what is wrong; `hint` one sentence about what to do, or empty.
    """

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail if not hint else f"{detail} {hint}")
        self.detail = detail
        self.hint = hint


class InvalidSpec(FaninError):
    """A training spec contradicts itself or the data it is to be trained on."""


class InvalidImage(FaninError):
    """An image, or a batch of them, cannot be read as 28x28 digits."""


class DataMissing(FaninError):
    """The requested data set is missing and cannot be downloaded."""


class DataDamaged(FaninError):
    """A data file does not have its known checksum."""


class CheckpointDamaged(FaninError):
    """A checkpoint file does not match its row or its header."""


class LossNotFinite(FaninError):
    """The training loss became infinite or not a number: the training diverged."""


class EngineMissing(FaninError):
    """This installation, on this processor, cannot train with the requested engine."""


class OutputNotFinite(FaninError):
    """A model's outputs overflow float32, so that it has no probabilities."""


class Interrupted(FaninError):
    """The caller stopped a training between two steps."""
