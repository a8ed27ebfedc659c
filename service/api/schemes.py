"""Initialization schemes: what there is to choose from, with formula, parameters and source."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from models.init import SCHEMES
from models.init.base import Scheme
from service.deps import problems
from service.errors import NotFound
from service.schemas import Answer, Page

router = APIRouter(prefix="/init-schemes", tags=["init-schemes"])


class Parameter(Answer):
    """A parameter of a scheme and its range."""

    name: str
    description: str
    default: Any
    types: list[str] = Field(description="JSON types it may have.")
    choices: list[Any] | None = Field(None, description="The only values, where it has a fixed set of them.")
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    exclusive_maximum: float | None = None


class InitScheme(Answer):
    """A rule that fills weights before training. n is fan-in, m fan-out."""

    name: str
    title: str
    summary: str
    formula: str = Field(description="As text.")
    formula_tex: str = Field(description="As TeX.")
    source: str
    parameters: list[Parameter]


def _scheme_view(name: str, scheme: type[Scheme]) -> InitScheme:
    properties = scheme.model_json_schema()["properties"]
    return InitScheme(
        name=name,
        title=scheme.title,
        summary=(scheme.__doc__ or "").partition("\n")[0],
        formula=scheme.formula,
        formula_tex=scheme.formula_tex,
        source=scheme.source,
        parameters=[_parameter(field, schema) for field, schema in properties.items() if field != "scheme"],
    )


def _parameter(name: str, schema: dict[str, Any]) -> Parameter:
    variants = schema.get("anyOf", [schema])
    limits = {key: value for variant in variants for key, value in variant.items()}
    choices = [
        choice for variant in variants for choice in variant.get("enum", [variant.get("const")]) if choice is not None
    ]
    return Parameter(
        name=name,
        description=schema["description"],
        default=schema["default"],
        types=[variant["type"] for variant in variants],
        choices=choices or None,
        minimum=limits.get("minimum"),
        exclusive_minimum=limits.get("exclusiveMinimum"),
        maximum=limits.get("maximum"),
        exclusive_maximum=limits.get("exclusiveMaximum"),
    )


@router.get("", summary="List initialization schemes", responses=problems())
def get_schemes() -> Page[InitScheme]:
    """List every scheme with its formula (text and TeX), its parameters with their ranges, and its source."""
    return Page[InitScheme](data=[_scheme_view(name, scheme) for name, scheme in SCHEMES.items()], has_more=False)


@router.get("/{name}", summary="Look at an initialization scheme", responses=problems(404))
def get_scheme(name: str) -> InitScheme:
    """Look at one scheme."""
    if name not in SCHEMES:
        raise NotFound(f"There is no scheme {name!r}.", f"There are: {', '.join(SCHEMES)}.")
    return _scheme_view(name, SCHEMES[name])
