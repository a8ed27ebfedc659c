"""Image classification in the format of Hugging Face's inference API: an image in, labels with scores out."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InvalidImage
from models.inference.fitted_digit import SIDE
from models.inference.input_checks import input_warnings
from service.api.dependencies import ServicesDep, problem_responses
from service.errors import UnsupportedMediaType
from service.http.answers import Answer
from service.http.json_body import media_type_of, parse_images
from service.http.problems import invalid_body
from service.inference.fast_path import ParsedForm, parsed_form
from service.inference.image_decoding import form_of, from_base64
from service.inference.images import Form, ReadImages, as_seen, gather_images
from service.inference.pictures import decode_picture
from service.inference.raw_images import read_raw
from service.inference.written_answers import warning_header, warnings_of

router = APIRouter(tags=["predict"])
DEFAULT_TOP_K = 5


class ClassifyParameters(BaseModel):
    """Options of a classification."""

    model_config = ConfigDict(frozen=True)

    top_k: int | None = Field(None, ge=1, description="Number of labels in the response; 5 by default, at most 10.")
    function_to_apply: Literal["softmax"] | None = Field(None, description="Scores are probabilities: softmax.")


class _FormParameters(ClassifyParameters):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassifyBody(BaseModel):
    """An image in base64, and options."""

    model_config = ConfigDict(frozen=True)

    inputs: str = Field(description="A picture or 784 raw bytes in base64, or a data URL.")
    parameters: ClassifyParameters | None = None


class Score(Answer):
    """A label with its probability."""

    label: str
    score: float = Field(ge=0, le=1)


_BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"$ref": "#/components/schemas/ClassifyBody"}},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"inputs": {"type": "string", "format": "binary"}}}
        },
    },
}


class _Asked(NamedTuple):
    content: bytes
    form: Form
    top_k: int


@router.post(
    "/models/{model_id}/classify",
    summary="Classify an image (Hugging Face format)",
    openapi_extra={"requestBody": _BODY},
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def classify(services: ServicesDep, model_id: str, request: Request, response: Response) -> list[Score]:
    """Classify one image, posted as bytes (a Content-Type is optional), in a form, or in base64 as `{"inputs": ...}`.

    Returns the most probable labels with their scores, best first. A picture is found, scaled and centred as in MNIST,
    unless it is like MNIST's digits already. The header X-Warnings says what may be wrong: `0:several_digits`.
    """
    body, decoding = await request.body(), services.answering.decoding
    media_type = media_type_of(request.headers.get("content-type"))
    if media_type == "multipart/form-data":
        asked = _of_form(await parsed_form(decoding, request.scope, body))
    else:
        asked = await decoding.run(partial(_asked, body, media_type), body)
    read = await decoding.run(partial(_read, asked), asked.content)
    result = await services.answering.predicted(model_id, read.images)
    warnings = warning_header(warnings_of(read, result.probabilities, input_warnings(read.images)))
    if warnings:
        response.headers["X-Warnings"] = warnings
    probabilities = result.probabilities[0]
    best = np.argsort(-probabilities, kind="stable")[: asked.top_k]
    return [Score(label=str(digit), score=float(probabilities[digit])) for digit in best]


def _asked(body: bytes, media_type: str) -> _Asked:
    if form_of(body, media_type) == "json":
        parsed = parse_images(body)
        try:
            request = ClassifyBody.model_validate(parsed)
        except ValidationError as error:
            raise invalid_body(error, parsed) from error
        content = from_base64(request.inputs)
        top_k = request.parameters.top_k if request.parameters else None
        return _Asked(content, _form_of(content, ""), top_k or DEFAULT_TOP_K)
    return _Asked(body, _form_of(body, media_type), DEFAULT_TOP_K)


def _of_form(form: ParsedForm) -> _Asked:
    if len(form.files) != 1:
        raise InvalidImage(f"The form has {len(form.files)} files.", "Send one: curl -F inputs=@digit.png")
    content, media_type = form.files[0]
    try:
        parameters = _FormParameters.model_validate(form.fields)
    except ValidationError as error:
        raise invalid_body(error, form.fields) from error
    return _Asked(content, _form_of(content, media_type), parameters.top_k or DEFAULT_TOP_K)


def _form_of(content: bytes, media_type: str) -> Form:
    form = form_of(content, media_type)
    if form in ("json", "npy"):
        raise UnsupportedMediaType("A classification reads one picture, or 784 raw bytes.", "Numbers: POST /predict.")
    return form


def _read(asked: _Asked) -> ReadImages:
    """Read a picture unchanged if it is like a digit of MNIST; otherwise fit it."""
    if asked.form == "raw":
        return read_raw(asked.content, None, fit=False)
    try:
        picture = decode_picture(asked.content, asked.form, fit=False)
    except InvalidImage:
        picture = decode_picture(asked.content, asked.form, fit=True)
    fit = picture.shape != (SIDE, SIDE) or input_warnings(picture[None]) != [()]
    return gather_images([as_seen(picture, fit=fit)], asked.form, fit=fit, batch=False)
