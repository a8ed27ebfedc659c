"""Where a training stands between two steps."""

from __future__ import annotations

from typing import NamedTuple


class StepProgress(NamedTuple):
    """Where a training stands; `epoch` counts from 1, `step` from 1 within it."""

    epoch: int
    step: int
    steps_per_epoch: int
    images: int
    seconds: float
