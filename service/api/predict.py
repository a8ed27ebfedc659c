"""Predict: say which digit an image shows."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from service.deps import GetParts, Parts, problems
from service.errors import MalformedBody
from service.images import MOST_IMAGES, ReadImages, Scale, read_body, read_files
from service.schemas import Answer
from service.store.checkpoints import ModelRow

router = APIRouter(tags=["predict"])


class ReadAs(Answer):
    """In what way the images were read."""

    form: Literal["png", "jpeg", "raw", "json"] = Field(description="What the bytes were taken for.")
    scale: Literal["0-255", "0-1"] = Field(description="What the numbers meant.")
    fitted: bool = Field(description="Whether digits were cropped, scaled and centred by mass, as MNIST was made.")


class Prediction(Answer):
    """The answer for one image."""

    label: int = Field(ge=0, le=9, description="The most probable digit.")
    probabilities: list[float] = Field(description="Of the digits 0 to 9; they sum to 1.")
    inverted: bool | None = Field(None, description="With ?fit=true: whether dark ink on light paper was inverted.")
    seen: list[list[int]] | None = Field(None, description="With ?fit=true: the 28x28 pixels that the network saw.")


class PredictedBy(Answer):
    """The model that answered."""

    id: str = Field(description="JOB@EPOCH: exactly these weights.")
    scheme: str
    accuracy: float | None
    evaluated_on: str | None
    weights_sha256: str


class OneAnswer(Prediction):
    """The answer to one image."""

    model: PredictedBy
    read_as: ReadAs


class BatchAnswer(Answer):
    """The answers to a batch, in its order."""

    predictions: list[Prediction]
    model: PredictedBy
    read_as: ReadAs


_BODY = {
    "required": True,
    "description": "One image or a batch. Without a Content-Type the bytes decide.",
    "content": {
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
        "application/octet-stream": {
            "schema": {"type": "string", "format": "binary", "description": "784 bytes an image, row by row."}
        },
        "application/json": {
            "schema": {
                "description": "28x28 numbers, or n times 28x28; bare, or under pixels, image or images.",
                "anyOf": [{"type": "array", "items": {}}, {"type": "object"}],
            },
            "example": {"pixels": [[0] * 28] * 28},
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
    },
}


@router.post(
    "/predict",
    summary="Say which digit an image shows",
    response_model=OneAnswer | BatchAnswer,
    openapi_extra={"requestBody": _BODY},
    responses=problems(400, 404, 413, 415, 422, 503),
)
async def predict(
    parts: GetParts,
    request: Request,
    model: Annotated[
        str, Query(description="latest, a job's id, or JOB@EPOCH.", max_length=100, examples=["latest"])
    ] = "latest",
    fit: Annotated[
        bool,
        Query(description="Crop, scale and centre each digit as MNIST was made; invert dark ink on light paper."),
    ] = False,
    scale: Annotated[
        Scale, Query(description="What numbers in JSON mean: 255 (grey levels), 1 (shares of ink), or auto.")
    ] = "auto",
) -> Any:
    """Say which digit each posted image shows: PNG, JPEG, 784 raw bytes, JSON 28x28 or a form with files.

    Numbers in JSON: if any is greater than 1, they are grey levels 0..255; if none is and some are fractions,
    they are shares of ink 0..1; only zeros and ones are ambiguous and refused unless `scale` says which.
    """
    read = await _read(request, fit=fit, scale=scale)
    return await run_in_threadpool(_answer, parts, model, read)


async def _read(request: Request, *, fit: bool, scale: Scale) -> ReadImages:
    media_type = _media_type(request.headers.get("content-type"))
    if media_type != "multipart/form-data":
        return await run_in_threadpool(read_body, await request.body(), media_type, fit=fit, scale=scale)
    try:
        async with request.form(max_files=MOST_IMAGES, max_fields=100) as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            files = [(await upload.read(), _media_type(upload.content_type)) for upload in uploads]
    except HTTPException as error:
        if error.status_code != HTTPStatus.BAD_REQUEST:
            raise
        raise MalformedBody(f"The body is not a form: {error.detail}", "Let the client set the boundary.") from error
    return await run_in_threadpool(read_files, files, fit=fit)


def _media_type(header: str | None) -> str:
    """Return a media type without its parameters, empty if there is none."""
    return (header or "").partition(";")[0].strip().lower()


def _answer(parts: Parts, model: str, read: ReadImages) -> Response:
    """Predict and write the answer as JSON, away from the event loop: a batch's takes longer than its prediction."""
    row, predictor = parts.predictors.find(model)
    probabilities = predictor.predict(read.images)
    predictions = [
        Prediction(
            label=int(one.argmax()),
            probabilities=one.tolist(),
            inverted=read.inverted[index] if read.fitted else None,
            seen=read.images[index].tolist() if read.fitted else None,
        )
        for index, one in enumerate(probabilities)
    ]
    shared: dict[str, Any] = {
        "model": _predicted_by(row),
        "read_as": ReadAs(form=read.form, scale=read.scale, fitted=read.fitted),
    }
    answer: BatchAnswer | OneAnswer
    if read.batch:
        answer = BatchAnswer(predictions=predictions, **shared)
    else:
        answer = OneAnswer(**predictions[0].model_dump(), **shared)
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


def _predicted_by(row: ModelRow) -> PredictedBy:
    checkpoint, evaluation = row.checkpoint, row.checkpoint.evaluation
    return PredictedBy(
        id=f"{checkpoint.job_id}@{checkpoint.epoch}",
        scheme=row.spec.init.scheme,
        accuracy=evaluation.accuracy if evaluation else None,
        evaluated_on=evaluation.evaluated_on if evaluation else None,
        weights_sha256=checkpoint.weights_sha256,
    )
