"""Schemes whose weights follow from the two fans of a layer alone, over `torch.nn.init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, final

from pydantic import Field, model_validator

from models.init.base import Bias, Scheme, gain_of

if TYPE_CHECKING:
    import torch

GainParameter = Literal["auto"] | float


def _resolve_gain(gain: GainParameter, activation: str) -> float:
    return gain_of(activation) if gain == "auto" else gain


class _EqualUnits(Scheme):
    """Schemes that start all units of a layer alike, so that only random biases could part them."""

    break_symmetry_by_bias: bool = Field(
        False, description="Allow `bias` = torch_default, which makes units differ and so defeats this scheme's lesson."
    )

    @model_validator(mode="after")
    def _random_bias_is_asked_for(self) -> Self:
        if self.bias == "torch_default" and not self.break_symmetry_by_bias:
            raise ValueError(
                f"{self.scheme} with random biases does not show symmetry: the biases make the units differ and the "
                'network learns; use "bias": "zeros", or ask for it with "break_symmetry_by_bias": true'
            )
        return self


@final
class Zeros(_EqualUnits):
    """Every weight is 0."""

    title: ClassVar[str] = "All zeros"
    formula: ClassVar[str] = "W = 0"
    formula_tex: ClassVar[str] = r"W_{ij} = 0"
    source: ClassVar[str] = (
        "The counter-example of every course. With ReLU or tanh and zero biases only the output bias has a "
        "gradient; with sigmoid all parameters move, but the units of a layer stay identical."
    )
    scheme: Literal["zeros"] = "zeros"

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Set W = 0."""
        from torch.nn.init import zeros_

        zeros_(weight)


@final
class Constant(_EqualUnits):
    """Every weight is the same number."""

    title: ClassVar[str] = "Constant"
    formula: ClassVar[str] = "W = value"
    formula_tex: ClassVar[str] = r"W_{ij} = c"
    source: ClassVar[str] = (
        "Symmetry: the units of a layer get equal gradients and stay one unit, whatever the width "
        "(Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4)."
    )
    scheme: Literal["constant"] = "constant"
    value: float = Field(0.01, ge=-100, le=100, description="The weight c.")

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Set W = value."""
        from torch.nn.init import constant_

        constant_(weight, self.value)


@final
class Normal(Scheme):
    """Gaussian weights of a fixed standard deviation, whatever the fans."""

    title: ClassVar[str] = "Normal"
    formula: ClassVar[str] = "W ~ N(mean, std^2)"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{N}(\mu, \sigma^2)"
    source: ClassVar[str] = "Before 2010 common with std = 0.01; the course's first network uses std = 1."
    scheme: Literal["normal"] = "normal"
    mean: float = Field(0.0, ge=-10, le=10, description="Mean of the weights.")
    std: float = Field(0.01, gt=0, le=10, description="Standard deviation of the weights (not the variance).")

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ N(mean, std^2)."""
        from torch.nn.init import normal_

        normal_(weight, self.mean, self.std, generator=stream)


@final
class Uniform(Scheme):
    """Uniform weights between fixed bounds, whatever the fans."""

    title: ClassVar[str] = "Uniform"
    formula: ClassVar[str] = "W ~ U(low, high); Var W = (high - low)^2 / 12"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{U}(a, b), \quad \operatorname{Var} W = \frac{(b-a)^2}{12}"
    source: ClassVar[str] = "Ciresan et al. 2010 trained deep MNIST networks from U(-0.05, 0.05)."
    scheme: Literal["uniform"] = "uniform"
    low: float = Field(-0.05, ge=-10, le=10, description="Lower bound a.")
    high: float = Field(0.05, ge=-10, le=10, description="Upper bound b; greater than `low`.")

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be less than high; got low = {self.low:g}, high = {self.high:g}")
        return self

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ U(low, high)."""
        from torch.nn.init import uniform_

        uniform_(weight, self.low, self.high, generator=stream)


class _Xavier(Scheme):
    """Schemes that balance the forward and the backward variance of a layer."""

    gain: Literal["auto"] | Annotated[float, Field(gt=0, le=10)] = Field(
        1.0,
        description='Factor g, 0 < g <= 10; "auto" takes torch.nn.init.calculate_gain of the activation '
        "(the output layer, which has none, then keeps 1).",
    )


@final
class XavierUniform(_Xavier):
    """Glorot's normalized initialization, uniform."""

    title: ClassVar[str] = "Xavier / Glorot uniform"
    formula: ClassVar[str] = "W ~ U(-a, a), a = g sqrt(6 / (n + m)); Var W = 2 g^2 / (n + m)"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{U}(-a, a), \quad a = g\sqrt{\frac{6}{n+m}},"
        r" \quad \operatorname{Var} W = \frac{2g^2}{n+m}"
    )
    source: ClassVar[str] = (
        "Glorot, Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 16"
    )
    scheme: Literal["xavier_uniform"] = "xavier_uniform"

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ U(-a, a) with a = g sqrt(6 / (n + m))."""
        from torch.nn.init import xavier_uniform_

        xavier_uniform_(weight, _resolve_gain(self.gain, activation), generator=stream)


@final
class XavierNormal(_Xavier):
    """Glorot's normalized initialization, Gaussian."""

    title: ClassVar[str] = "Xavier / Glorot normal"
    formula: ClassVar[str] = "W ~ N(0, s^2), s = g sqrt(2 / (n + m)); s is the standard deviation"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{N}(0, \sigma^2), \quad \sigma = g\sqrt{\frac{2}{n+m}}"
    source: ClassVar[str] = (
        "Glorot, Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 12"
    )
    scheme: Literal["xavier_normal"] = "xavier_normal"

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ N(0, s^2) with s = g sqrt(2 / (n + m))."""
        from torch.nn.init import xavier_normal_

        xavier_normal_(weight, _resolve_gain(self.gain, activation), generator=stream)


class _He(Scheme):
    """Schemes that make up for the half of the signal that a rectifier removes."""

    mode: Literal["fan_in", "fan_out"] = Field(
        "fan_in", description="Which fan f divides: fan_in keeps the forward variance, fan_out the backward one."
    )
    negative_slope: float = Field(0.0, ge=0, lt=1, description="Slope a of the rectifier below 0; 0 for ReLU.")


@final
class HeUniform(_He):
    """He's initialization for rectifiers, uniform."""

    title: ClassVar[str] = "He / Kaiming uniform"
    formula: ClassVar[str] = "W ~ U(-b, b), b = g sqrt(3 / f), g = sqrt(2 / (1 + a^2)); Var W = g^2 / f"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{U}(-b, b), \quad b = g\sqrt{\frac{3}{f}}, \quad g = \sqrt{\frac{2}{1+a^2}}"
    )
    source: ClassVar[str] = "He, Zhang, Ren, Sun 2015, Delving deep into rectifiers, eq. 10 and 15"
    scheme: Literal["he_uniform"] = "he_uniform"

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ U(-b, b) with b = sqrt(6 / ((1 + a^2) f))."""
        from torch.nn.init import kaiming_uniform_

        kaiming_uniform_(weight, self.negative_slope, self.mode, generator=stream)


@final
class HeNormal(_He):
    """He's initialization for rectifiers, Gaussian."""

    title: ClassVar[str] = "He / Kaiming normal"
    formula: ClassVar[str] = "W ~ N(0, s^2), s = g / sqrt(f), g = sqrt(2 / (1 + a^2)); s is the standard deviation"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{N}(0, \sigma^2), \quad \sigma = \frac{g}{\sqrt{f}}, \quad g = \sqrt{\frac{2}{1+a^2}}"
    )
    source: ClassVar[str] = "He, Zhang, Ren, Sun 2015, Delving deep into rectifiers, eq. 10 and 15"
    scheme: Literal["he_normal"] = "he_normal"

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ N(0, s^2) with s = sqrt(2 / ((1 + a^2) f))."""
        from torch.nn.init import kaiming_normal_

        kaiming_normal_(weight, self.negative_slope, self.mode, generator=stream)


@final
class TorchDefault(Scheme):
    """What `torch.nn.Linear` does when nobody asks."""

    title: ClassVar[str] = "torch.nn.Linear's default"
    formula: ClassVar[str] = "W, b ~ U(-1/sqrt(n), 1/sqrt(n)); Var W = 1 / (3 n)"
    formula_tex: ClassVar[str] = (
        r"W_{ij}, b_i \sim \mathcal{U}\left(-\tfrac{1}{\sqrt n}, \tfrac{1}{\sqrt n}\right),"
        r" \quad \operatorname{Var} W = \frac{1}{3n}"
    )
    source: ClassVar[str] = (
        "torch.nn.Linear.reset_parameters; for the weights the same law as Glorot, Bengio 2010, eq. 1"
    )
    scheme: Literal["torch_default"] = "torch_default"
    bias: Bias = Field("torch_default", description=Scheme.model_fields["bias"].description)

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ U(-1/sqrt(n), 1/sqrt(n))."""
        from torch.nn.init import kaiming_uniform_

        kaiming_uniform_(weight, 5**0.5, generator=stream)
