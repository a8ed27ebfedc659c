"""What can go wrong in `models`, as one tree.

    FaninError
    |-- InvalidSpec          a training spec contradicts itself or the data
    |-- InvalidImage         an image cannot be read as 28x28 digits
    |-- DataMissing          the asked data set is not here and cannot be fetched
    |-- DataDamaged          a data file does not have the bytes it should have
    |-- CheckpointDamaged    a checkpoint file does not hold what its row or header promises
    |-- LossNotFinite        training diverged
    |-- EngineMissing        this installation cannot train by the asked engine
    |-- OutputNotFinite      a model's outputs overflow, so that it has no probabilities to give
    `-- Interrupted          the caller asked a training to stop between two steps

Every error names its cause (`detail`) and, where there is one, the way out (`hint`).
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
    """The asked data set is not here and cannot be fetched."""


class DataDamaged(FaninError):
    """A data file does not have the bytes it should have."""


class CheckpointDamaged(FaninError):
    """A checkpoint file does not hold what its row or its header promises."""


class LossNotFinite(FaninError):
    """The training loss became infinite or not a number: the training diverged."""


class EngineMissing(FaninError):
    """This installation, on this processor, cannot train by the asked engine."""


class OutputNotFinite(FaninError):
    """A model's outputs overflow float32, so that it has no probabilities to give."""


class Interrupted(FaninError):
    """The caller asked a training to stop between two steps."""
