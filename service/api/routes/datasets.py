"""Data sets: which of them are available, and single test digits."""

from __future__ import annotations

import secrets
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from models.data.mnist import DataSet, is_here, load
from models.errors import DataMissing
from models.vocabulary import DATA_NAMES, DataName
from service.api.dependencies import ServicesDep, problem_responses
from service.errors import NotFound
from service.http.accept import prefers
from service.http.answers import Answer, Page
from service.http.numbers import whole_number
from service.inference.pictures import encode_png

router = APIRouter(prefix="/datasets", tags=["datasets"])


class DatasetView(Answer):
    """A data set, and whether it is available on the API's machine."""

    name: str
    available: bool
    detail: str = Field(description="Its contents; if it is not available, how to get it.")


class Digit(Answer):
    """One test digit; /predict accepts it as a JSON body."""

    dataset: str
    split: Literal["test"] = "test"
    index: int
    label: int
    pixels: list[list[int]] = Field(description="28 rows of 28 grey levels: 0 is background, 255 ink.")


@lru_cache(maxsize=2)
def _loaded(name: DataName, folder: Path) -> DataSet:
    return load(name, folder, fetch=False)


def dataset(name: str, folder: Path) -> DataSet:
    """Return a data set from this machine; it stays in memory. Raises `NotFound`, `DataMissing`."""
    if name not in DATA_NAMES:
        raise NotFound(f"There is no data set {name!r}.", f"There are: {', '.join(DATA_NAMES)}.")
    return _loaded(name, folder)


def _describe(name: DataName, folder: Path) -> DatasetView:
    try:
        if name == "mnist" and is_here(folder):
            return DatasetView(name=name, available=True, detail="60,000 training digits, 10,000 test digits.")
        data = load(name, folder, fetch=False)
    except DataMissing as error:
        return DatasetView(name=name, available=False, detail=str(error))
    return DatasetView(name=name, available=True, detail=data.description)


@router.get("", summary="List data sets", responses=problem_responses())
def get_datasets(services: ServicesDep) -> Page[DatasetView]:
    """List the data sets, and which of them are available."""
    return Page[DatasetView](data=[_describe(name, services.data_dir) for name in DATA_NAMES], has_more=False)


_DIGIT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The digit as JSON, or as a 28x28 PNG with its label in the header X-Label.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/{name}/test/{index}",
    summary="Get a test digit",
    response_model=Digit,
    responses={**_DIGIT_RESPONSES, **problem_responses(404, 422, 503)},
)
def get_test_digit(
    services: ServicesDep,
    name: str,
    index: str,
    accept: Annotated[str, Header(description="image/png returns a PNG.")] = "",
    as_format: Annotated[
        Literal["png", "json"] | None, Query(alias="format", description="Overrides the Accept header.")
    ] = None,
) -> Any:
    """Get a test digit with its label, as JSON or PNG; the index is a number or `random`."""
    digits = dataset(name, services.data_dir).test
    count = len(digits.labels)
    number = secrets.randbelow(count) if index == "random" else whole_number(index)
    if number is None or number >= count:
        raise NotFound(f"There is no test digit {index!r}.", f"Use an index from 0 to {count - 1}, or random.")
    image, label = digits.images[number], int(digits.labels[number])
    if as_format == "png" or (as_format is None and prefers(accept, "image/png", over="application/json")):
        headers = {"X-Label": str(label), "X-Index": str(number), "Vary": "Accept"}
        return Response(encode_png(image), media_type="image/png", headers=headers)
    return Digit(dataset=name, index=number, label=label, pixels=image.tolist())
