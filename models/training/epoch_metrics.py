"""Metrics that are computed from the losses of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

FIRST_BELOW_LOSS = 2.0
SMOOTHED_STEPS = 10


def first_step_below(losses: Sequence[float], steps_before: int) -> int | None:
    """Return the first step, counted over all epochs, at which the mean of the last few losses is below 2.0."""
    for end in range(SMOOTHED_STEPS, len(losses) + 1):
        if fmean(losses[end - SMOOTHED_STEPS : end]) < FIRST_BELOW_LOSS:
            return steps_before + end
    return None
