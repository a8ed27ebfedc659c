"""Means with confidence intervals. No torch, no SQL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from pydantic import BaseModel, ConfigDict, Field

LEVEL = 0.95
LEAST_P = 1e-300
HALVINGS = 45
"""Of the logarithms from that of `LEAST_P` to 0: to 2e-11 of p."""


class Part(BaseModel):
    """Base of the parts of a comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeanInterval(Part):
    """The mean of some numbers, with its confidence interval."""

    mean: float
    sd: float | None = Field(description="Standard deviation; null for one number.")
    low: float | None = Field(
        description="95 % interval of the mean over other seeds and other test images; null for one number."
    )
    high: float | None


def half_width(values: Sequence[float], se_of_images: float, p_value: float) -> float:
    """Return by how far the mean of at least two seeds may be off with probability `p_value`, by chance.

    Two things can be by chance: the seeds, whose standard error s / sqrt(n) is known with n - 1 degrees of freedom, and
    the test images, whose standard error `se_of_images` is known from many. Each has its own law, and they add up:

        h^2 = (t_(n-1) s / sqrt(n))^2 + (z se_of_images)^2,  t and z at 1 - p / 2

    Seeds that agree by chance thus do not make an estimate exact, and few of them do not make it vaguer than they are.
    """
    return _half_width(stdev(values) / math.sqrt(len(values)), len(values) - 1, se_of_images, p_value)


def _half_width(se_of_seeds: float, degrees: int, se_of_images: float, p_value: float) -> float:
    from scipy.special import ndtri, stdtrit

    tail = p_value / 2
    return math.hypot(float(stdtrit(degrees, tail)) * se_of_seeds, float(ndtri(tail)) * se_of_images)


def mean_p(values: Sequence[float], se_of_images: float) -> float:
    """Return the two-sided p of the mean of at least two seeds against 0: that of the interval that ends at 0."""
    mean = abs(fmean(values))
    if mean == 0:
        return 1.0
    errors = (stdev(values) / math.sqrt(len(values)), len(values) - 1, se_of_images)  # once: stdev is slow
    if _half_width(*errors, LEAST_P) < mean:
        return 0.0
    low, high = math.log(LEAST_P), 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _half_width(*errors, math.exp(middle)) > mean:
            low = middle
        else:
            high = middle
    return math.exp(high)


def mean_interval(
    values: Sequence[float], se_of_images: float = 0.0, within: tuple[float, float] = (-math.inf, math.inf)
) -> MeanInterval:
    """Return mean, standard deviation and 95 % interval: mean +- `half_width`.

    The interval is cut to the values that are possible (`within`).
    """
    mean = fmean(values)
    if len(values) < 2:
        return MeanInterval(mean=mean, sd=None, low=None, high=None)
    half, (low, high) = half_width(values, se_of_images, 1 - LEVEL), within
    return MeanInterval(mean=mean, sd=stdev(values), low=max(mean - half, low), high=min(mean + half, high))


def binomial_se(share: float, n: int) -> float:
    """Return the standard error of a share of n independent images: sqrt(p (1 - p) / n)."""
    return math.sqrt(max(share * (1 - share), 0.0) / n)
