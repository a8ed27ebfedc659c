"""The options of a prediction: in the query, in the fields of a form, or in JSON beside the image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from models.vocabulary import CLASSES
from service.http.known_query import unknown_parameter, wrong_option
from service.inference.images import Scale

MAX_NAME = 100
MAX_MODELS = 16


class PredictOptions(BaseModel):
    """How images are read, and what the response has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: Annotated[
        bool,
        Field(description="Find, scale and centre each digit as in MNIST; invert dark ink on light paper."),
    ] = False
    scale: Annotated[
        Scale, Field(description="Range of numbers in JSON or .npy: 255 (grey levels), 1 (shares of ink), or auto.")
    ] = "auto"
    shape: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9]{1,6}(,[0-9]{1,6}){0,3}$",
            description="Shape of raw bytes, if they are more than one digit of 784: n,28,28 or n,784; with fit h,w.",
            examples=["2,28,28"],
        ),
    ] = None
    top_k: Annotated[
        int | None,
        Field(ge=1, description=f"Also return this many most probable digits, best first; at most {CLASSES}."),
    ] = None
    probabilities: Annotated[bool, Field(description="Whether to return the probabilities of all digits.")] = True

    @property
    def is_plain(self) -> bool:
        """Return whether the response has its default fields."""
        return self.probabilities and self.top_k is None


class PredictQuery(PredictOptions):
    """Options of a prediction, and the models that predict."""

    model: Annotated[
        str,
        Field(
            max_length=MAX_NAME,
            description="Model: best (the highest accuracy), latest, an alias, a job's id, or JOB@EPOCH.",
            examples=["best"],
        ),
    ] = "best"
    models: Annotated[
        str | None,
        Field(
            max_length=MAX_MODELS * (MAX_NAME + 1),
            description=f"Up to {MAX_MODELS} models to compare, separated by commas; replaces `model`.",
        ),
    ] = None

    @field_validator("models")
    @classmethod
    def _are_names(cls, models: str | None) -> str | None:
        if models is not None and not (models.count(",") < MAX_MODELS and all(models.split(","))):
            raise ValueError(f"should be up to {MAX_MODELS} names, separated by commas, none of them empty")
        return models

    @property
    def reads_one_digit(self) -> bool:
        """Return whether raw bytes are one digit that is not fitted."""
        return not self.fit and self.shape is None

    def names(self) -> list[str]:
        """Return the names of the requested models."""
        return [self.model] if self.models is None else self.models.split(",")


class PathQuery(PredictQuery):
    """Options of a prediction at a path that names its model, even if that is the default one."""


DEFAULT = PredictQuery()


@lru_cache(maxsize=1024)
def read_query(query: bytes, model: str | None = None) -> PredictQuery:
    """Return the parsed query string; `model` is that of the path, if it has one. Raises `RequestValidationError`."""
    if not query and model is None:
        return DEFAULT
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    known = PredictQuery.model_fields if model is None else PredictOptions.model_fields
    parameters = dict(given)
    for name in parameters:
        if name not in known:
            raise unknown_parameter(name, known)
    if len(parameters) < len(given):
        names = [name for name, _ in given]
        twice = next(name for name in names if names.count(name) > 1)
        raise wrong_option("query", twice, "is given more than once")
    query_of = _validated(parameters, "query")
    return query_of if model is None else PathQuery.model_construct(**query_of.model_dump() | {"model": model})


def with_options(query: PredictQuery, options: Mapping[str, Any]) -> PredictQuery:
    """Return the query with the options of a body. Raises `RequestValidationError`.

    An option may be in both places if both say the same, or if one has its default: generated clients send defaults.
    The model of a path is never a default.
    """
    given, added = (one.model_dump(exclude_defaults=True) for one in (query, _validated(options, "body")))
    if isinstance(query, PathQuery):
        given["model"] = query.model
    for name in sorted(given.keys() & added.keys()):
        if given[name] != added[name]:
            raise wrong_option("body", name, f"is {added[name]!r} here, and {given[name]!r} in the query or path")
    for name, other in (("model", "models"), ("models", "model")):
        if name in added and other in given:
            raise wrong_option("body", name, f"is {added[name]!r} here, and {other} is {given[other]!r} already")
    return type(query).model_validate(given | added)


def _validated(values: Mapping[str, Any], place: str) -> PredictQuery:
    given = {name: value for name, value in values.items() if value != ""}  # a field of a form that was left empty
    if "models" in given and given.get("model", DEFAULT.model) != DEFAULT.model:
        raise wrong_option(place, "model", "is given beside models; one of them says which models predict")
    try:
        return PredictQuery.model_validate(given)
    except ValidationError as error:
        wrong = [{**field, "loc": (place, *field["loc"])} for field in error.errors(include_url=False)]
        raise RequestValidationError(wrong, body=dict(values)) from None
