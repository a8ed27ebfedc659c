"""Schemes whose scale follows from the fans of a layer: the variance scaling law and its named cases.

Var W = scale / fan, with fan one of n (fan-in), m (fan-out) or (n + m) / 2. Standard deviations are computed as
torch.nn.init does, so that equal generators give equal bits.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, final

from pydantic import Field

from models.init.base import GAIN_DESCRIPTION, Bias, Gain, Scheme, resolved_gain
from models.init.laws import TRUNCATED_VARIANCE, Law, normal, truncated_normal, uniform
from models.vocabulary import Real


def _uniform_of(std: float) -> Law:
    return uniform(math.sqrt(3.0) * std)


@final
class VarianceScaling(Scheme):
    """The general law, of which Xavier's, He's, LeCun's and torch's are cases."""

    title: ClassVar[str] = "Variance scaling"
    formula: ClassVar[str] = "Var W = scale / fan; fan = n, m or (n + m) / 2; normal, truncated normal or uniform"
    formula_tex: ClassVar[str] = r"\operatorname{Var} W = \frac{s}{f}, \quad f \in \{n,\; m,\; \tfrac{n+m}{2}\}"
    source: ClassVar[str] = (
        "The common form of Glorot, Bengio 2010 (scale 1, fan_avg), He et al. 2015 (2, fan_in) and LeCun et al. 1998 "
        "(1, fan_in), as jax.nn.initializers and Keras have it."
    )
    scheme: Literal["variance_scaling"] = "variance_scaling"
    scale: Real = Field(1.0, gt=0, le=100, description="Factor s of the variance, 0 < s <= 100.")
    mode: Literal["fan_in", "fan_out", "fan_avg"] = Field("fan_in", description="Which fan f is.")
    distribution: Literal["normal", "truncated_normal", "uniform"] = Field(
        "normal", description="Distribution of the weights; all three have the variance of the formula."
    )

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return the law of variance scale / fan."""
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = math.sqrt(self.scale / fan)
        if self.distribution == "uniform":
            return _uniform_of(std)
        if self.distribution == "normal":
            return normal(std)
        return truncated_normal(std / math.sqrt(TRUNCATED_VARIANCE))


@final
class GlorotStandard(Scheme):
    """The common initialization before Glorot and Bengio, who called it standard."""

    title: ClassVar[str] = "Standard (before Glorot)"
    formula: ClassVar[str] = "W ~ U(-1/sqrt(n), 1/sqrt(n)); Var W = 1 / (3 n)"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{U}\left(-\tfrac{1}{\sqrt n}, \tfrac{1}{\sqrt n}\right),"
        r" \quad n \operatorname{Var} W = \tfrac13"
    )
    source: ClassVar[str] = (
        "Glorot, Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 1"
    )
    scheme: Literal["glorot_standard"] = "glorot_standard"

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return U(-1/sqrt(n), 1/sqrt(n))."""
        return uniform(1 / math.sqrt(fan_in))


class _Xavier(Scheme):
    """Schemes that balance the forward and the backward variance of a layer."""

    gain: Gain = Field(1.0, description=GAIN_DESCRIPTION)

    def _std(self, fan_in: int, fan_out: int, activation: str) -> float:
        return resolved_gain(self.gain, activation) * math.sqrt(2.0 / float(fan_in + fan_out))


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

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return U(-a, a) with a = g sqrt(6 / (n + m))."""
        return _uniform_of(self._std(fan_in, fan_out, activation))


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

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return N(0, s^2) with s = g sqrt(2 / (n + m))."""
        return normal(self._std(fan_in, fan_out, activation))


class _He(Scheme):
    """Schemes that compensate for the half of the signal that a rectifier removes."""

    mode: Literal["fan_in", "fan_out"] = Field(
        "fan_in", description="Which fan f is: fan_in keeps the forward variance, fan_out the backward one."
    )
    negative_slope: Real = Field(
        0.0, ge=0, le=10, description="Slope a of the rectifier below 0; 0 for ReLU. torch's layers start with sqrt(5)."
    )

    def _std(self, fan_in: int, fan_out: int) -> float:
        gain = math.sqrt(2.0 / (1 + self.negative_slope**2))
        return gain / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)


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

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return U(-b, b) with b = sqrt(6 / ((1 + a^2) f))."""
        return _uniform_of(self._std(fan_in, fan_out))


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

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return N(0, s^2) with s = sqrt(2 / ((1 + a^2) f))."""
        return normal(self._std(fan_in, fan_out))


_LECUN = "LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp, section 4.6; what SELU networks need (Klambauer 2017)"


@final
class LecunUniform(Scheme):
    """LeCun's initialization, uniform."""

    title: ClassVar[str] = "LeCun uniform"
    formula: ClassVar[str] = "W ~ U(-a, a), a = sqrt(3 / n); Var W = 1 / n"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{U}(-a, a), \quad a = \sqrt{\frac{3}{n}}"
    source: ClassVar[str] = _LECUN
    scheme: Literal["lecun_uniform"] = "lecun_uniform"

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return U(-a, a) with a = sqrt(3 / n)."""
        return _uniform_of(math.sqrt(1 / fan_in))


@final
class LecunNormal(Scheme):
    """LeCun's initialization, Gaussian."""

    title: ClassVar[str] = "LeCun normal"
    formula: ClassVar[str] = "W ~ N(0, 1/n)"
    formula_tex: ClassVar[str] = r"W_{ij} \sim \mathcal{N}\left(0, \tfrac{1}{n}\right)"
    source: ClassVar[str] = _LECUN
    scheme: Literal["lecun_normal"] = "lecun_normal"

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return N(0, 1/n)."""
        return normal(math.sqrt(1 / fan_in))


@final
class RandomWalk(Scheme):
    """Gaussian weights whose gain compensates for the drift of the signal's norm in deep networks."""

    title: ClassVar[str] = "Random walk"
    formula: ClassVar[str] = (
        "W ~ N(0, g^2 / n); g = sqrt(2) exp(1.2 / (max(n, 6) - 2.4)) for relu, exp(1 / (2 n)) for identity"
    )
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{N}\left(0, \tfrac{g^2}{n}\right), \quad"
        r" g_{\mathrm{ReLU}} = \sqrt2\,e^{\frac{1.2}{\max(n,6)-2.4}}, \quad g_{\mathrm{linear}} = e^{\frac{1}{2n}}"
    )
    source: ClassVar[str] = (
        "Sussillo, Abbott 2014, Random walk initialization for training very deep feedforward networks"
    )
    scheme: Literal["random_walk"] = "random_walk"

    def misfit(self, sizes: tuple[int, ...], activation: str) -> str:
        """Return a message for activations that the paper has no gain for, else an empty string."""
        if activation in ("relu", "identity"):
            return ""
        return f"random_walk has gains for relu and identity only, not for {activation}; use one of these"

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return N(0, g^2 / n)."""
        if activation == "relu":
            gain = math.sqrt(2) * math.exp(1.2 / (max(fan_in, 6) - 2.4))
        else:
            gain = math.exp(1 / (2 * fan_in))
        return normal(gain / math.sqrt(fan_in))


@final
class TorchDefault(Scheme):
    """The default initialization of `torch.nn.Linear`."""

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

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law:
        """Return U(-1/sqrt(n), 1/sqrt(n)), computed as torch's kaiming_uniform_ with slope sqrt(5) does."""
        return _uniform_of(math.sqrt(2.0 / (1 + math.sqrt(5) ** 2)) / math.sqrt(fan_in))
