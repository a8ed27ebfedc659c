"""The table of all initialization schemes, and `initialize`, which fills a network by one of them.

To add a scheme, write its final class in a file of this package. `SCHEMES` finds it there; the request model,
`GET /init-schemes`, the OpenAPI document, the documentation's table and the property tests follow from `SCHEMES`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models.init.base import Generators, Scheme

if TYPE_CHECKING:
    import torch

    from models.network.mlp import Network


def _schemes() -> dict[str, type[Scheme]]:
    """Return the concrete schemes of all files of this package, by name, in the order of files and classes."""
    schemes: dict[str, type[Scheme]] = {}
    for file in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        for scheme in vars(importlib.import_module(f"{__name__}.{file.name}")).values():
            if isinstance(scheme, type) and issubclass(scheme, Scheme) and getattr(scheme, "__final__", False):
                schemes[scheme.model_fields["scheme"].default] = scheme
    return schemes


SCHEMES: dict[str, type[Scheme]] = _schemes()

if TYPE_CHECKING:
    AnyScheme = Scheme
else:
    AnyScheme = Annotated[reduce(or_, SCHEMES.values()), Field(discriminator="scheme")]
"""The discriminated union of all schemes."""

OutputInit = Literal["same", "small", "zeros"]
SMALL_OUTPUT_STD = 0.01


def initialize(
    network: Network,
    scheme: Scheme,
    seed: int,
    output_init: OutputInit = "same",
    images: torch.Tensor | None = None,
) -> None:
    """Fill `network` in place by `scheme`, drawing from the random streams of `seed`.

    `output_init` may replace the output layer's weight: `small` draws N(0, 0.01^2), `zeros` sets 0. The hidden layers
    are the same, bit for bit, under all three. `images` are training images, uint8 [n, 784], at least
    `scheme.probe_images()` of them; a scheme that needs none ignores them.
    """
    generators = Generators.of(seed)
    scheme.fill(network, generators, images)
    replace_output(network, output_init, generators)


def replace_output(network: Network, output_init: OutputInit, generators: Generators) -> None:
    """Set the output layer's weight in place as `output_init` says; `same` keeps the scheme's weight."""
    output = network.layers[-1].weight
    if output_init == "small":
        output.normal_(0.0, SMALL_OUTPUT_STD, generator=generators.output)
    elif output_init == "zeros":
        output.zero_()


def markdown_table() -> str:
    """Return the table of docs/reference/schemes.md."""
    rows = [
        f"| `{name}` | {_cell(scheme.formula)} | {_parameters(scheme)} | {_cell(scheme.source)} |"
        for name, scheme in SCHEMES.items()
    ]
    return "\n".join(["| scheme | weights | parameters | source |", "| --- | --- | --- | --- |", *rows])


def _parameters(scheme: type[Scheme]) -> str:
    fields = [field for name, field in scheme.model_fields.items() if name not in Scheme.model_fields]
    names = [name for name in scheme.model_fields if name not in Scheme.model_fields]
    return ", ".join(f"`{name}` ({_default(field.default)})" for name, field in zip(names, fields, strict=True))


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
