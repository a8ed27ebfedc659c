"""Initialization schemes with formula, parameters and source, and previews of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.diagnostics.preview import Preview
from models.init import SCHEMES, OutputInit
from models.init.base import Scheme
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.vocabulary import DEFAULT_SEED, MAX_SEED, DataChoice
from service.api.dependencies import ServicesDep, SpecObject, problem_responses
from service.errors import NotFound
from service.http.answers import Answer, Page
from service.http.problems import invalid_body

router = APIRouter(prefix="/init-schemes", tags=["init-schemes"])


class Parameter(Answer):
    """A parameter of a scheme, and its range."""

    name: str
    description: str
    default: Any
    types: list[str] = Field(description="JSON types that its value may have.")
    choices: list[Any] | None = Field(None, description="Allowed values, if it has a fixed set of them.")
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    exclusive_maximum: float | None = None


class InitScheme(Answer):
    """A rule that fills the weights before training. In its formulas n is the fan-in, m the fan-out."""

    name: str
    title: str
    summary: str
    formula: str = Field(description="The formula as text.")
    formula_tex: str = Field(description="The formula as TeX.")
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


class PreviewBody(BaseModel):
    """The network to preview; every field has the default of `POST /jobs`."""

    model_config = ConfigDict(extra="forbid")

    init: dict[str, Any] = Field({}, description="Parameters of the scheme, such as its gain.")
    architecture: Architecture = Field(Architecture(), description="The network.")
    output_init: OutputInit = Field("same", description="Initialization of the output layer's weight.")
    seed: int = Field(DEFAULT_SEED, ge=0, le=MAX_SEED, description="Seed of the weights.")
    data: DataChoice = Field("auto", description="Data set of the training images.")


@router.post(
    "/{name}/preview",
    summary="Preview a network with a scheme",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/PreviewBody"},
                    "example": {
                        "architecture": {"hidden": [512] * 10, "activation": "relu"},
                        "init": {"bias": "zeros"},
                    },
                }
            },
        }
    },
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def preview_scheme(services: ServicesDep, connection: Request, name: str, body: SpecObject) -> Preview:
    """Initialize a network with a scheme and measure its layers without training; with predictions and a verdict.

    The numbers are those of the first record of a job's diagnostics. Only dbn differs: its layers are measured before
    they are pre-trained. Previews run one at a time; a request that waits longer than ten seconds gets 503.
    """
    _scheme_named(name)
    try:
        request = PreviewBody.model_validate(body)
        spec = TrainSpec.model_validate(
            request.model_dump() | {"init": request.init | {"scheme": name}, "epochs": 0, "batch_size": 1}
        )
    except ValidationError as error:
        raise invalid_body(error, body) from None
    return await services.previews.make(spec, connection.is_disconnected)


@router.get("", summary="List initialization schemes", responses=problem_responses())
def get_schemes() -> Page[InitScheme]:
    """List every scheme with its formula (text and TeX), its parameters with their ranges, and its source."""
    return Page[InitScheme](data=[_scheme_view(name, scheme) for name, scheme in SCHEMES.items()], has_more=False)


@router.get("/{name}", summary="Get an initialization scheme", responses=problem_responses(404))
def get_scheme(name: str) -> InitScheme:
    """Get a scheme with its formula, its parameters with their ranges, and its source."""
    return _scheme_view(name, _scheme_named(name))


def _scheme_named(name: str) -> type[Scheme]:
    if name not in SCHEMES:
        raise NotFound(f"There is no scheme {name!r}.", f"There are: {', '.join(SCHEMES)}.")
    return SCHEMES[name]
