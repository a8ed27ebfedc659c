"""The distributions that independent weights are drawn from; a law has moments and fills a tensor.

A law is the formula of a scheme: draws, the predictions of previews and the property tests all come from it. Weights
are drawn by torch.nn.init, so that they equal those that a user of torch gets from the same generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

TRUNCATED_AT_SD = 2.0
_CUT_MASS = math.erf(TRUNCATED_AT_SD / math.sqrt(2))
_CUT_DENSITY = math.exp(-(TRUNCATED_AT_SD**2) / 2) / math.sqrt(2 * math.pi)
TRUNCATED_VARIANCE = 1 - 2 * TRUNCATED_AT_SD * _CUT_DENSITY / _CUT_MASS
"""Variance of a standard normal cut at +-2: .7737."""
_TRUNCATED_FOURTH = 3 * TRUNCATED_VARIANCE - 2 * TRUNCATED_AT_SD**3 * _CUT_DENSITY / _CUT_MASS
TRUNCATED_KURTOSIS = _TRUNCATED_FOURTH / TRUNCATED_VARIANCE**2
"""Kurtosis of the same: 2.366."""


@dataclass(frozen=True)
class Law:
    """The distribution that each entry of a weight is drawn from, independently.

    `scale` is the standard deviation before any cut (normal, truncated_normal), or half the width (uniform).
    """

    kind: Literal["normal", "truncated_normal", "uniform"]
    mean: float
    scale: float

    @property
    def variance(self) -> float:
        """Return Var W: s^2 (normal), .7737 s^2 (cut at +-2 s), a^2 / 3 (uniform on mean +- a)."""
        factor = {"normal": 1.0, "truncated_normal": TRUNCATED_VARIANCE, "uniform": 1 / 3}
        return factor[self.kind] * self.scale**2

    @property
    def kurtosis(self) -> float:
        """Return E (W - mean)^4 / Var^2: 3 (normal), 2.366 (cut at +-2 s), 1.8 (uniform)."""
        return {"normal": 3.0, "truncated_normal": TRUNCATED_KURTOSIS, "uniform": 1.8}[self.kind]

    @property
    def support(self) -> tuple[float, float]:
        """Return the interval that holds every draw."""
        reach = {"normal": math.inf, "truncated_normal": TRUNCATED_AT_SD * self.scale, "uniform": self.scale}
        return self.mean - reach[self.kind], self.mean + reach[self.kind]

    def cdf(self, values: torch.Tensor) -> torch.Tensor:
        """Return P(W <= value) for each of `values`, float64."""
        import torch

        standard: torch.Tensor = (values.double() - self.mean) / self.scale
        if self.kind == "uniform":
            return ((standard + 1) / 2).clamp(0, 1)
        below: torch.Tensor = torch.special.ndtr(standard)
        if self.kind == "normal":
            return below
        return ((below - (1 - _CUT_MASS) / 2) / _CUT_MASS).clamp(0, 1)

    def fill(self, weight: torch.Tensor, stream: torch.Generator) -> None:
        """Draw every entry of `weight` in place."""
        from torch.nn import init

        low, high = self.support
        if self.kind == "normal":
            init.normal_(weight, self.mean, self.scale, generator=stream)
        elif self.kind == "uniform":
            init.uniform_(weight, low, high, generator=stream)
        else:
            init.trunc_normal_(weight, self.mean, self.scale, low, high, generator=stream)


def normal(std: float, mean: float = 0.0) -> Law:
    """Return N(mean, std^2)."""
    return Law("normal", mean, std)


def uniform(bound: float) -> Law:
    """Return U(-bound, bound)."""
    return Law("uniform", 0.0, bound)


def truncated_normal(std: float, mean: float = 0.0) -> Law:
    """Return N(mean, std^2) cut at mean +- 2 std; its standard deviation is .8796 std."""
    return Law("truncated_normal", mean, std)
