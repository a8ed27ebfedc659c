"""The progress of a training between two steps."""

from __future__ import annotations

from typing import NamedTuple


class StepProgress(NamedTuple):
    """The progress of a training; `epoch` counts from 1, `step` from 1 within it.

    `images` and `seconds` are those of the epoch so far.
    """

    epoch: int
    step: int
    steps_per_epoch: int
    images: int
    seconds: float
