"""Initialization schemes: what there is to choose from, with formula, parameters and source."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.diagnostics.preview import Preview
from models.init import SCHEMES, OutputInit
from models.init.base import Scheme
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.vocabulary import DEFAULT_SEED, MAX_SEED, DataChoice
from service.api.dependencies import JsonObject, ServicesDep, problem_responses
from service.errors import NotFound
from service.http.answers import Answer, Page
from service.http.problems import invalid_body

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


class PreviewBody(BaseModel):
    """Which network to look at; every field has the default of `POST /jobs`."""

    model_config = ConfigDict(extra="forbid")

    init: dict[str, Any] = Field({}, description="Parameters of the scheme, such as its gain.")
    architecture: Architecture = Field(Architecture(), description="The network.")
    output_init: OutputInit = Field("same", description="How the output layer's weight starts.")
    seed: int = Field(DEFAULT_SEED, ge=0, le=MAX_SEED, description="Seed of the weights.")
    data: DataChoice = Field("auto", description="Whose training images to look with.")


@router.post(
    "/{name}/preview",
    summary="Look at what a scheme makes of a network",
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/PreviewBody"},
                    "example": {
                        "architecture": {"hidden": [512] * 10, "activation": "relu"},
                        "init": {"bias": "zeros"},
                    },
                }
            }
        }
    },
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def preview_scheme(services: ServicesDep, name: str, body: JsonObject) -> Preview:
    """Look at the layers of a network as a scheme fills it, without training: measured, predicted, and a verdict.

    The same numbers as the first record of a job's diagnostics, but for dbn, whose layers are shown before they are
    pre-trained. One preview is made at a time; who waits for more than ten seconds is told so (503).
    """
    _scheme_named(name)
    try:
        asked = PreviewBody.model_validate(body)
        spec = TrainSpec.model_validate(
            asked.model_dump() | {"init": asked.init | {"scheme": name}, "epochs": 0, "batch_size": 1}
        )
    except ValidationError as error:
        raise invalid_body(error, body) from None
    return await services.previews.make(spec)


@router.get("", summary="List initialization schemes", responses=problem_responses())
def get_schemes() -> Page[InitScheme]:
    """List every scheme with its formula (text and TeX), its parameters with their ranges, and its source."""
    return Page[InitScheme](data=[_scheme_view(name, scheme) for name, scheme in SCHEMES.items()], has_more=False)


@router.get("/{name}", summary="Look at an initialization scheme", responses=problem_responses(404))
def get_scheme(name: str) -> InitScheme:
    """Look at one scheme."""
    return _scheme_view(name, _scheme_named(name))


def _scheme_named(name: str) -> type[Scheme]:
    if name not in SCHEMES:
        raise NotFound(f"There is no scheme {name!r}.", f"There are: {', '.join(SCHEMES)}.")
    return SCHEMES[name]
