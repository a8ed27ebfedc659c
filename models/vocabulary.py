"""The types and constants that every part of `models` shares; imports nothing else of the project."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Strict

PIXELS = 28 * 28
CLASSES = 10
LEAKY_RELU_SLOPE = 0.01
SCALED_TANH_LIMIT, SCALED_TANH_STEEPNESS = 1.7159, 2 / 3
"""1.7159 tanh(2 z / 3), which maps -1 and 1 to themselves (LeCun et al. 1998, Efficient BackProp, section 4.4)."""
DEFAULT_SEED = 777
MAX_SEED = 2**53 - 1
Activation = Literal["relu", "tanh", "scaled_tanh", "sigmoid", "softsign", "leaky_relu", "selu", "gelu", "identity"]
MNIST_MEAN, MNIST_DEVIATION = 0.1307, 0.3081
"""Of the pixels of MNIST's training images as shares of ink; the numbers of torchvision's examples."""
InputScaling = Literal["zero_to_one", "standardized"]
DataChoice = Literal["auto", "mnist", "mnist_5k"]
Precision = Literal["float32", "tf32", "bf16"]
DataName = Literal["mnist", "mnist_5k"]
DATA_NAMES: tuple[DataName, ...] = get_args(DataName)
EvaluatedOn = Literal["mnist_test", "mnist_5k_held_out"]


Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]
YesNo = Annotated[bool, Strict()]
"""Values of a spec: a whole number may stand for a real one, but true, false and texts are no numbers."""


class Part(BaseModel):
    """Base of all parts of a spec."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
