"""Schemes whose scale is a parameter, whatever the layer's fans."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, final

from pydantic import Field, model_validator

from models.init.base import Scheme
from models.init.laws import Law, normal, truncated_normal
from models.vocabulary import Real


@final
class Normal(Scheme):
    """Gaussian weights of a fixed standard deviation, whatever the fans."""

    title: ClassVar[str] = "Normal"
    formula: ClassVar[str] = "W ~ N(mean, std^2)"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{N}(\mu, \sigma^2)"
    source: ClassVar[str] = "Before 2010 common with std = 0.01; the course's first network uses std = 1."
    scheme: Literal["normal"] = "normal"
    mean: Real = Field(0.0, ge=-10, le=10, description="Mean of the weights.")
    std: Real = Field(0.01, gt=0, le=10, description="Standard deviation of the weights (not the variance).")

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return N(mean, std^2)."""
        return normal(self.std, self.mean)


@final
class TruncNormal(Scheme):
    """Gaussian weights without the tails."""

    title: ClassVar[str] = "Truncated normal"
    formula: ClassVar[str] = "W ~ N(mean, std^2) cut at mean +- 2 std; Var W = 0.7737 std^2"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{N}(\mu, \sigma^2) \text{ on } [\mu - 2\sigma, \mu + 2\sigma],"
        r" \quad \operatorname{Var} W = 0.7737\,\sigma^2"
    )
    source: ClassVar[str] = (
        "TensorFlow's truncated_normal, cut at two deviations; torch's trunc_normal_ cuts at -2 and 2"
    )
    scheme: Literal["trunc_normal"] = "trunc_normal"
    mean: Real = Field(0.0, ge=-10, le=10, description="Mean of the weights.")
    std: Real = Field(0.01, gt=0, le=10, description="Standard deviation before the cut; after it 0.8796 of that.")

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return N(mean, std^2) cut at mean +- 2 std."""
        return truncated_normal(self.std, self.mean)


@final
class Uniform(Scheme):
    """Uniform weights between fixed bounds, whatever the fans."""

    title: ClassVar[str] = "Uniform"
    formula: ClassVar[str] = "W ~ U(low, high); Var W = (high - low)^2 / 12"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{U}(a, b), \quad \operatorname{Var} W = \frac{(b-a)^2}{12}"
    source: ClassVar[str] = "Ciresan et al. 2010 trained deep MNIST networks from U(-0.05, 0.05)."
    scheme: Literal["uniform"] = "uniform"
    low: Real = Field(-0.05, ge=-10, le=10, description="Lower bound a.")
    high: Real = Field(0.05, ge=-10, le=10, description="Upper bound b; greater than `low`.")

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be less than high; got low = {self.low:g}, high = {self.high:g}")
        return self

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return U(low, high)."""
        return Law("uniform", (self.low + self.high) / 2, (self.high - self.low) / 2)
