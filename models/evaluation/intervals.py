"""Means with confidence intervals. No torch, no SQL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from pydantic import BaseModel, ConfigDict, Field

LEVEL = 0.95


class Part(BaseModel):
    """Base of the parts of a comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeanInterval(Part):
    """The mean of some numbers, with its confidence interval."""

    mean: float
    sd: float | None = Field(description="Standard deviation; null for one number.")
    low: float | None = Field(
        description="Student's 95 % interval of the mean, at least as wide as the test images alone make it; null for "
        "one number."
    )
    high: float | None


def mean_interval(
    values: Sequence[float], least_se: float = 0.0, within: tuple[float, float] = (-math.inf, math.inf)
) -> MeanInterval:
    """Return mean, standard deviation and Student's interval: mean +- t se, n - 1 degrees of freedom.

    se = max(s / sqrt(n), `least_se`). The floor is the standard error that the finite test set alone gives: a few seeds
    that agree by chance do not make an estimate exact. The interval is cut to the values that are possible (`within`).
    """
    mean = fmean(values)
    if len(values) < 2:
        return MeanInterval(mean=mean, sd=None, low=None, high=None)
    from scipy.special import stdtrit

    sd = stdev(values)
    half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * max(sd / math.sqrt(len(values)), least_se)
    low, high = within
    return MeanInterval(mean=mean, sd=sd, low=max(mean - half, low), high=min(mean + half, high))


def binomial_se(share: float, n: int) -> float:
    """Return the standard error of a share of n independent images: sqrt(p (1 - p) / n)."""
    return math.sqrt(max(share * (1 - share), 0.0) / n)
