"""The base class of initialization schemes: parameters, a formula with its source, and methods that fill a network."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.randomness import generator
from models.vocabulary import Real

if TYPE_CHECKING:
    import torch

    from models.init.laws import Law
    from models.network.mlp import Network

Bias = Literal["zeros", "torch_default", "normal", "constant"]
Gain = Literal["auto"] | Annotated[Real, Field(gt=0, le=10)]
GAIN_DESCRIPTION = (
    'Factor g, 0 < g <= 10; "auto" takes torch.nn.init.calculate_gain of the activation (the output layer, which has '
    "none, then keeps 1)."
)


class Generators(NamedTuple):
    """The random streams of one initialization; see `models.randomness`."""

    seed: int
    weights: torch.Generator
    biases: torch.Generator
    output: torch.Generator

    @classmethod
    def of(cls, seed: int) -> Self:
        """Return the streams that belong to `seed`."""
        return cls(seed, generator(seed, "weights"), generator(seed, "biases"), generator(seed, "output"))


class Scheme(BaseModel):
    """A rule that fills the weights and biases of a whole network before training.

    A concrete scheme is a final class in a file of this package. Its fields are its parameters; its class variables
    name its title, formula and source. n is the fan-in of a layer (its inputs), m the fan-out (its outputs), W the
    weight of shape [m, n]. A scheme with independent entries gives its formula as a `law`, from which every weight is
    drawn. Any other scheme fills a weight (`fill_weight`) or the whole network (`fill`) itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    title: ClassVar[str]
    formula: ClassVar[str]
    formula_tex: ClassVar[str]
    source: ClassVar[str]

    keeps_signal_theory: ClassVar[bool] = True
    """Whether `models.diagnostics.signal_theory` may predict from the variance of the weights alone."""

    scheme: str
    bias: Bias = Field(
        "zeros",
        description="How biases start: zeros, torch's U(-1/sqrt(n), 1/sqrt(n)), normal: N(0, `bias_std`^2), or "
        "constant: `bias_value`.",
    )
    bias_value: Real = Field(0.0, ge=-100, le=100, description="The bias of every unit; only with `bias` = constant.")
    bias_std: Real | None = Field(
        None, gt=0, le=10, description="Standard deviation of the biases; only and always with `bias` = normal."
    )

    @model_validator(mode="after")
    def _bias_value_needs_constant(self) -> Self:
        if self.bias != "constant" and self.bias_value != 0.0:
            raise ValueError('bias_value is used only with "bias": "constant"; set that, or leave bias_value out')
        return self

    @model_validator(mode="after")
    def _normal_biases_have_a_deviation(self) -> Self:
        if (self.bias == "normal") != (self.bias_std is not None):
            raise ValueError('"bias": "normal" and bias_std go together; give both, or neither')
        return self

    @property
    def draws_biases(self) -> bool:
        """Return whether biases are random, so that units differ even if their weights do not."""
        return self.bias in ("torch_default", "normal")

    def bias_variance(self, fan_in: int) -> float:
        """Return the variance of the biases of a layer: 1 / (3 n), bias_std^2, or 0."""
        if self.bias_std is not None:
            return self.bias_std**2
        return 1 / (3 * fan_in) if self.bias == "torch_default" else 0.0

    def law(self, fan_in: int, fan_out: int, activation: str) -> Law | None:
        """Return the law that each entry of a weight is drawn from; None if entries are not independent draws."""
        return None

    def weight_variance(self, fan_in: int, fan_out: int, activation: str) -> float | None:
        """Return the mean square of a weight's entries about their mean, by the formula; None if unknown."""
        law = self.law(fan_in, fan_out, activation)
        return None if law is None else law.variance

    def misfit(self, sizes: tuple[int, ...], activation: str) -> str:
        """Return why this scheme cannot fill a network of these layer sizes and this activation.

        The string is empty if it can.
        """
        return ""

    def probe_images(self) -> int:
        """Return the least number of training images that `fill` needs."""
        return 0

    def fill(self, network: Network, generators: Generators, images: torch.Tensor | None = None) -> None:
        """Fill every weight and bias of `network` in place.

        `images` are the training images, uint8 [n, 784], for schemes that depend on data; the others ignore them. The
        same generator state gives the same weights, bit for bit.
        """
        for layer in network.layers:
            activation = network.activation if layer is not network.layers[-1] else "identity"
            self.fill_weight(layer.weight, activation, generators.weights)
        self.fill_biases(network, generators)

    def fill_biases(self, network: Network, generators: Generators) -> None:
        """Fill every bias of `network` in place, as `bias` says."""
        for layer in network.layers:
            self._fill_bias(layer.bias, layer.weight.shape[1], generators.biases)

    def _fill_bias(self, bias: torch.Tensor, fan_in: int, stream: torch.Generator) -> None:
        if self.bias_std is not None:
            bias.normal_(0.0, self.bias_std, generator=stream)
        elif self.bias == "torch_default":
            bound = fan_in**-0.5
            bias.uniform_(-bound, bound, generator=stream)
        else:
            bias.fill_(self.bias_value)

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Fill one weight [fan_out, fan_in] in place; `activation` is the one after this layer.

        Raises `TypeError` if the scheme has no law.
        """
        fan_out, fan_in = weight.shape
        law = self.law(fan_in, fan_out, activation)
        if law is None:
            raise TypeError(f"{type(self).__name__} fills a whole network, not one weight at a time")
        law.fill(weight, stream)


def smallest_fan_in(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Return (layer from 1, fan-in) of the layer with the fewest inputs."""
    return min(((number, fan_in) for number, (fan_in, _) in enumerate(pairwise(sizes), 1)), key=lambda pair: pair[1])


def resolved_gain(gain: Literal["auto"] | float, activation: str) -> float:
    """Return a gain as a number: `gain`, or for "auto" the gain of `activation`."""
    return gain_of(activation) if gain == "auto" else gain


def gain_of(activation: str) -> float:
    """Return the gain that keeps the variance through `activation`, as `torch.nn.init` tabulates it.

    Three that torch does not name: gelu has 1.533, which is 1 / sqrt(E[gelu(Z)^2]) for standard normal Z; softsign and
    scaled_tanh have 1 (LeCun et al. 1998, Efficient BackProp, section 4.6, made scaled_tanh for it).
    """
    from torch.nn.init import calculate_gain

    gains = {"identity": 1.0, "softsign": 1.0, "scaled_tanh": 1.0, "gelu": 1.533}
    if activation in gains:
        return gains[activation]
    return float(calculate_gain(activation, 0.01 if activation == "leaky_relu" else None))  # type: ignore[arg-type]
