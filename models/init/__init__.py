"""The table of all initialization schemes, and the way a network gets its first weights.

Adding a scheme: write its class in a file of this package and put it into `SCHEMES`. The request model,
`GET /init-schemes`, the OpenAPI document and the property tests follow from the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from models.init.base import Generators, Scheme
from models.init.closed_form import (
    Constant,
    HeNormal,
    HeUniform,
    Normal,
    TorchDefault,
    Uniform,
    XavierNormal,
    XavierUniform,
    Zeros,
)

if TYPE_CHECKING:
    import torch

    from models.mlp import Network

AnyScheme = Annotated[
    Zeros | Constant | Normal | Uniform | XavierUniform | XavierNormal | HeUniform | HeNormal | TorchDefault,
    Field(discriminator="scheme"),
]
"""The discriminated union of all schemes; its order is the order of `SCHEMES`."""

SCHEMES: dict[str, type[Scheme]] = {
    scheme.model_fields["scheme"].default: scheme
    for scheme in AnyScheme.__origin__.__args__  # type: ignore[attr-defined]
}

OutputInit = Literal["same", "small", "zeros"]
SMALL_OUTPUT_STD = 0.01


def initialize(
    network: Network,
    scheme: Scheme,
    seed: int,
    output_init: OutputInit = "same",
    probe: torch.Tensor | None = None,
) -> None:
    """Fill `network` in place by `scheme`, from the streams that belong to `seed`.

    `output_init` may replace the output layer's weight: `small` draws N(0, 0.01^2), `zeros` sets 0. The
    hidden layers are the same, bit for bit, under all three.
    """
    generators = Generators.of(seed)
    scheme.fill(network, generators, probe)
    output = network.layers[-1].weight
    if output_init == "small":
        output.normal_(0.0, SMALL_OUTPUT_STD, generator=generators.output)
    elif output_init == "zeros":
        output.zero_()
