"""The shape of a network: its layers and activation. This file does not import torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from models.vocabulary import CLASSES, PIXELS, Activation, InputScaling, Part, Whole

MAX_PARAMETERS = 100_000_000
MAX_HIDDEN_LAYERS = 256


class Architecture(Part):
    """A multilayer perceptron: 784 inputs, the hidden layers, 10 outputs."""

    hidden: tuple[Annotated[Whole, Field(ge=1, le=8192)], ...] = Field(
        (256, 256),
        min_length=1,
        max_length=MAX_HIDDEN_LAYERS,
        description=f"Units of each hidden layer, 1 to {MAX_HIDDEN_LAYERS} layers.",
    )
    activation: Activation = Field(
        "relu",
        description="Follows every hidden layer. leaky_relu has slope 0.01 below 0; gelu is its tanh form; "
        "scaled_tanh is 1.7159 tanh(2 z / 3).",
    )
    inputs: InputScaling = Field(
        "zero_to_one",
        description="What the first layer receives for a pixel: its share of ink x, 0 to 1, or standardized: "
        "(x - .1307) / .3081, with mean 0 and variance 1 over MNIST. Predictions take the same images for both.",
    )

    @model_validator(mode="after")
    def _not_too_many_parameters(self) -> Self:
        if self.parameter_count > MAX_PARAMETERS:
            raise ValueError(
                f"{self.parameter_count:,} parameters are more than the limit of {MAX_PARAMETERS:,}; "
                "use fewer or narrower hidden layers"
            )
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the units of all layers, inputs and outputs included."""
        return (PIXELS, *self.hidden, CLASSES)

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor, by the name that checkpoints give it."""
        shapes: dict[str, tuple[int, ...]] = {}
        for index, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            shapes[f"layers.{index}.weight"] = (fan_out, fan_in)
            shapes[f"layers.{index}.bias"] = (fan_out,)
        return shapes

    @property
    def parameter_count(self) -> int:
        """Return the number of weights and biases."""
        return sum(fan_in * fan_out + fan_out for fan_in, fan_out in pairwise(self.sizes))
