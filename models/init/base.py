"""What every initialization scheme is: parameters, a formula with its source, and a way to fill a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.randomness import generator

if TYPE_CHECKING:
    import torch

    from models.mlp import Network

Bias = Literal["zeros", "torch_default", "constant"]


class Generators(NamedTuple):
    """The random streams of one initialization; see `models.randomness`."""

    weights: torch.Generator
    biases: torch.Generator
    output: torch.Generator

    @classmethod
    def of(cls, seed: int) -> Self:
        """Return the streams that belong to `seed`."""
        return cls(generator(seed, "weights"), generator(seed, "biases"), generator(seed, "output"))


class Scheme(BaseModel):
    """A rule that fills the weights and biases of a whole network before training.

    A concrete scheme is one final class: its fields are its parameters, its class variables say what it
    does and who found it, and `fill_weight` holds the formula. n is the fan-in of a layer (its inputs),
    m the fan-out (its outputs), W the weight of shape [m, n].
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    title: ClassVar[str]
    formula: ClassVar[str]
    formula_tex: ClassVar[str]
    source: ClassVar[str]

    scheme: str
    bias: Bias = Field(
        "zeros", description="How biases start: zeros, torch's U(-1/sqrt(n), 1/sqrt(n)), or `bias_value`."
    )
    bias_value: float = Field(0.0, ge=-100, le=100, description="The bias of every unit; only with `bias` = constant.")

    @model_validator(mode="after")
    def _bias_value_needs_constant(self) -> Self:
        if self.bias != "constant" and self.bias_value != 0.0:
            raise ValueError('bias_value is used only with "bias": "constant"; set that, or leave bias_value out')
        return self

    def fill(self, network: Network, generators: Generators, probe: torch.Tensor | None = None) -> None:
        """Fill every weight and bias of `network` in place.

        `probe` is a float32 batch [n, 784] of training images in [0, 1] for schemes that look at data;
        the closed-form ones ignore it. The same generator state gives the same weights, bit for bit.
        """
        for layer in network.layers:
            activation = network.activation if layer is not network.layers[-1] else "identity"
            self.fill_weight(layer.weight, activation, generators.weights)
        for layer in network.layers:
            fill_bias(layer.bias, layer.weight.shape[1], self.bias, self.bias_value, generators.biases)

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Fill one weight [fan_out, fan_in] in place; `activation` is what follows this layer."""
        raise TypeError(f"{type(self).__name__} fills a whole network, not one weight at a time")


def fill_bias(bias: torch.Tensor, fan_in: int, kind: Bias, value: float, stream: torch.Generator) -> None:
    """Fill one bias [fan_out] in place; `torch_default` draws U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    if kind == "torch_default":
        bound = fan_in**-0.5
        bias.uniform_(-bound, bound, generator=stream)
    else:
        bias.fill_(value)


def gain_of(activation: str) -> float:
    """Return the gain that keeps the variance through `activation`, as `torch.nn.init` tabulates it.

    For gelu, which torch does not name, 1.533: 1 / sqrt(E[gelu(Z)^2]) for standard normal Z.
    """
    from torch.nn.init import calculate_gain

    own = {"identity": 1.0, "softsign": 1.0, "gelu": 1.533}
    if activation in own:
        return own[activation]
    return float(calculate_gain(activation, 0.01 if activation == "leaky_relu" else None))  # type: ignore[arg-type]
