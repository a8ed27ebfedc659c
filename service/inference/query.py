"""The query of a prediction, read once for the quick route and for the documented one."""

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
    """What `?...` says of a prediction."""

    model_config = ConfigDict(frozen=True)

    model: Annotated[
        str,
        Field(
            max_length=MAX_NAME,
            description="latest, an alias, a job's id, or JOB@EPOCH.",
            examples=["latest"],
        ),
    ] = "latest"
    models: Annotated[
        str | None,
        Field(
            max_length=MAX_MODELS * (MAX_NAME + 1),
            pattern=rf"^[^,]+(,[^,]+){{0,{MAX_MODELS - 1}}}$",
            description=f"Up to {MAX_MODELS} models, separated by commas, to answer side by side; instead of `model`.",
        ),
    ] = None
    fit: Annotated[
        bool,
        Field(description="Crop, scale and centre each digit as MNIST was made; invert dark ink on light paper."),
    ] = False
    scale: Annotated[
        Scale, Field(description="What numbers in JSON mean: 255 (grey levels), 1 (shares of ink), or auto.")
    ] = "auto"
    top_k: Annotated[
        int | None, Field(ge=1, le=CLASSES, description="Also give so many of the most probable digits, best first.")
    ] = None
    probabilities: Annotated[bool, Field(description="Whether to give the probabilities of all digits.")] = True

    @property
    def is_plain(self) -> bool:
        """Say whether the answer is to hold what it holds without any wish."""
        return self.probabilities and self.top_k is None

    def names(self) -> list[str]:
        """Return the models that are asked."""
        return [self.model] if self.models is None else self.models.split(",")


DEFAULT = PredictQuery()


@lru_cache(maxsize=1024)
def read_query(query: bytes) -> PredictQuery:
    """Return what a query string says; names that are not known mean nothing. Raises `RequestValidationError`."""
    if not query:
        return DEFAULT
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    try:
        return PredictQuery.model_validate(given)
    except ValidationError as error:
        wrong = [{**one, "loc": ("query", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(wrong) from None
