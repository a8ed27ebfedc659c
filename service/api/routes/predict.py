"""Prediction routes. `service.inference.fast_path` handles these requests first; the routes here document them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from models.inference.input_checks import InputWarning
from service.api.dependencies import ServicesDep, problem_responses
from service.http.answers import Answer
from service.inference import written_answers
from service.inference.answers import PredictedBy
from service.inference.fast_path import respond
from service.inference.images import Form, ReadScale
from service.inference.query import PredictOptions, PredictQuery, read_query

router = APIRouter(tags=["predict"])


class ReadAs(Answer):
    """How the images were read."""

    form: Form = Field(description="Format that the body was read as.")
    scale: ReadScale = Field(description="Range of the numbers.")
    fitted: bool = Field(description="Whether digits were found, scaled and centred by mass, as in MNIST.")
    clipped: bool | None = Field(None, description="True if numbers a little beyond 0 or 1 were clipped.")


class Likely(Answer):
    """A digit with its probability."""

    label: int = Field(ge=0, le=9)
    probability: float = Field(ge=0, le=1)


class Prediction(Answer):
    """The prediction for one image."""

    label: int = Field(ge=0, le=9, description="The most probable digit.")
    probabilities: list[float] | None = Field(None, description="Probabilities of the digits 0 to 9; they sum to 1.")
    top: list[Likely] | None = Field(None, description="With ?top_k=: the most probable digits, best first.")
    inverted: bool | None = Field(None, description="With ?fit=true: whether dark ink on light paper was inverted.")
    seen: list[list[int]] | None = Field(None, description="With ?fit=true: the 28x28 pixels that the network saw.")


class Warned(Answer):
    """A warning that an image is unlike the digits of the training set."""

    index: int = Field(ge=0, description="Index of the image, from 0.")
    kind: InputWarning
    detail: str = Field(description="The cause and a hint.")


class _Shared(Answer):
    read_as: ReadAs
    warnings: list[Warned] | None = Field(None, description="About images that are unlike the training digits.")


class OneAnswer(Prediction, _Shared):
    """The response for one image."""

    model: PredictedBy


class BatchAnswer(_Shared):
    """The response for a batch, in its order."""

    predictions: list[Prediction]
    model: PredictedBy


class OneOfMany(Prediction):
    """The prediction of one of several models for one image."""

    model: PredictedBy


class BatchOfMany(Answer):
    """The predictions of one of several models for a batch."""

    predictions: list[Prediction]
    model: PredictedBy


class ManyAnswers(_Shared):
    """The response of several models, in the order of the request."""

    answers: list[OneOfMany | BatchOfMany]


class PixelsBody(PredictQuery):
    """Numbers or a picture in JSON: `pixels` or `image` (images), and beside it the options of the query.

    The numbers may also be the whole body, without an object around them: `[[...28 numbers...], ...28 rows...]`.
    """

    pixels: list[Any] | None = Field(
        None, description="28x28 or n times 28x28 numbers; also 784, [1,28,28], [28,28,1], [n,1,28,28], [n,28,28,1]."
    )
    image: str | None = Field(None, description="A picture or 784 raw bytes in base64, or a data URL.")


_BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "required": True,
    "description": "One image or a batch. Without a Content-Type the format is detected from the bytes.",
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/PixelsBody"},
            "example": {"pixels": [[0] * 28] * 28},
        },
        "image/png": _BINARY,
        "image/jpeg": _BINARY,
        "image/webp": _BINARY,
        "image/avif": _BINARY,
        "image/bmp": _BINARY,
        "image/gif": _BINARY,
        "application/octet-stream": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "784 bytes, row by row; of more images with ?shape=n,28,28.",
            }
        },
        "application/x-npy": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "An array from numpy.save: [28,28], [n,28,28], [n,1,28,28] or [n,784].",
            }
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "model": {"type": "string"},
                    "models": {"type": "string"},
                    "fit": {"type": "boolean"},
                    "top_k": {"type": "integer"},
                },
            }
        },
    },
}
BINARY_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON; or, by the Accept header, the probabilities [n, 10] as little-endian float32 or as .npy. "
        "The header X-Model names the model; beside binary answers X-Warnings has what is in `warnings`.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "/models/{model_id}/predict",
    summary="Predict digits with one model",
    response_model=OneAnswer | BatchAnswer,
    openapi_extra={"requestBody": BODY},
    responses={**BINARY_ANSWERS, **problem_responses(400, 404, 413, 415, 422, 503)},
)
async def predict_by(
    services: ServicesDep, model_id: str, request: Request, _options: Annotated[PredictOptions, Query()]
) -> Any:
    """Predict with the model in the path, like POST /predict?model=."""
    query = read_query(request.scope["query_string"], model_id)
    return _response(await respond(services.answering, request.scope, await request.body(), query))


@router.post(
    "/predict",
    summary="Predict digits",
    response_model=OneAnswer | BatchAnswer | ManyAnswers,
    openapi_extra={"requestBody": BODY},
    responses={**BINARY_ANSWERS, **problem_responses(400, 404, 413, 415, 422, 503)},
)
async def predict(services: ServicesDep, request: Request, query: Annotated[PredictQuery, Query()]) -> Any:
    """Predict the digit in each posted image: a picture, 784 raw bytes, .npy, JSON 28x28 or a form with files.

    Numbers in JSON are grey levels 0..255 if any is greater than 1, and shares of ink 0..1 if none is and some are
    fractions. Zeros and ones alone are ambiguous and need `scale`, else 422.
    """
    return _response(await respond(services.answering, request.scope, await request.body(), query))


def _response(answered: written_answers.Answer) -> Response:
    headers = {"X-Model": answered.model} | ({"X-Warnings": answered.warnings} if answered.warnings else {})
    return Response(answered.content, media_type=answered.media_type, headers=headers)
