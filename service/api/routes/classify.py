"""Image classification in the format of Hugging Face's inference API: an image in, labels with scores out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InvalidImage
from models.vocabulary import CLASSES
from service.api.dependencies import ServicesDep, problem_responses
from service.http.answers import Answer
from service.http.json_body import media_type_of, parse_images
from service.http.problems import invalid_body
from service.inference.image_decoding import read_base64, read_body
from service.inference.images import ReadImages

router = APIRouter(tags=["predict"])
DEFAULT_TOP_K = 5


class ClassifyParameters(BaseModel):
    """Options of a classification."""

    model_config = ConfigDict(frozen=True)

    top_k: int | None = Field(None, ge=1, le=CLASSES, description="Number of labels in the response; 5 by default.")


class ClassifyBody(BaseModel):
    """An image in base64, and options."""

    model_config = ConfigDict(frozen=True)

    inputs: str = Field(description="A PNG, a JPEG or 784 raw bytes in base64.")
    parameters: ClassifyParameters = ClassifyParameters()


class Score(Answer):
    """A label with its probability."""

    label: str
    score: float = Field(ge=0, le=1)


_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"$ref": "#/components/schemas/ClassifyBody"}},
    },
}


@router.post(
    "/models/{model_id}/classify",
    summary="Classify an image (Hugging Face format)",
    openapi_extra={"requestBody": _BODY},
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def classify(services: ServicesDep, model_id: str, request: Request) -> list[Score]:
    """Classify one image, posted as bytes (a Content-Type is optional) or in base64 as JSON `{"inputs": ...}`.

    Returns the most probable labels with their scores, best first. Pictures of other sizes than 28x28 are cropped,
    scaled and centred as in MNIST.
    """
    body = await request.body()
    media_type = media_type_of(request.headers.get("content-type"))
    read, top_k = await services.answering.decoding.run(partial(_read, body, media_type), body)
    probabilities = (await services.answering.predicted(model_id, read.images[:1])).probabilities[0]
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return [Score(label=str(digit), score=float(probabilities[digit])) for digit in best]


def _read(body: bytes, media_type: str) -> tuple[ReadImages, int]:
    if media_type == "application/json" or (not media_type and body.lstrip()[:1] == b"{"):
        try:
            request = ClassifyBody.model_validate(parse_images(body))
        except ValidationError as error:
            raise invalid_body(error, None) from error
        return _of_any_size(partial(read_base64, request.inputs)), request.parameters.top_k or DEFAULT_TOP_K
    is_picture = not media_type or media_type.startswith("image/") or media_type == "application/x-www-form-urlencoded"
    read = partial(read_body, body, "" if is_picture else media_type, scale="255")
    return _of_any_size(read), DEFAULT_TOP_K


def _of_any_size(read: Callable[..., ReadImages]) -> ReadImages:
    """Read a picture unchanged if it has 28x28 pixels; otherwise fit it."""
    try:
        return read(fit=False)
    except InvalidImage:
        return read(fit=True)
