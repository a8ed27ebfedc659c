"""The query parameters of a prediction, for the fast path and for the documented route."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.vocabulary import CLASSES
from service.inference.images import Scale

MAX_NAME = 100
MAX_MODELS = 16


class PredictQuery(BaseModel):
    """Query parameters of a prediction."""

    model_config = ConfigDict(frozen=True)

    model: Annotated[
        str,
        Field(
            max_length=MAX_NAME,
            description="Model: latest, an alias, a job's id, or JOB@EPOCH.",
            examples=["latest"],
        ),
    ] = "latest"
    models: Annotated[
        str | None,
        Field(
            max_length=MAX_MODELS * (MAX_NAME + 1),
            pattern=rf"^[^,]+(,[^,]+){{0,{MAX_MODELS - 1}}}$",
            description=f"Up to {MAX_MODELS} models to compare, separated by commas; replaces `model`.",
        ),
    ] = None
    fit: Annotated[
        bool,
        Field(description="Crop, scale and centre each digit as in MNIST; invert dark ink on light paper."),
    ] = False
    scale: Annotated[
        Scale, Field(description="Range of numbers in JSON or .npy: 255 (grey levels), 1 (shares of ink), or auto.")
    ] = "auto"
    top_k: Annotated[
        int | None, Field(ge=1, le=CLASSES, description="Also return this many most probable digits, best first.")
    ] = None
    probabilities: Annotated[bool, Field(description="Whether to return the probabilities of all digits.")] = True

    @property
    def is_plain(self) -> bool:
        """Return whether the response has its default fields."""
        return self.probabilities and self.top_k is None

    def names(self) -> list[str]:
        """Return the names of the requested models."""
        return [self.model] if self.models is None else self.models.split(",")


DEFAULT = PredictQuery()


@lru_cache(maxsize=1024)
def read_query(query: bytes) -> PredictQuery:
    """Return the parsed query string; unknown parameters are ignored. Raises `RequestValidationError`."""
    if not query:
        return DEFAULT
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    try:
        return PredictQuery.model_validate(parameters)
    except ValidationError as error:
        wrong = [{**field, "loc": ("query", *field["loc"])} for field in error.errors(include_url=False)]
        raise RequestValidationError(wrong) from None
