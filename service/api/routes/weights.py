"""Weights for other programs: download a model as safetensors, npz or ONNX."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from models.checkpoint import decode
from models.inference.export import ExportFormat, to_npz, to_onnx
from service.api.dependencies import ServicesDep, problem_responses
from service.http.partial_content import partial_response
from service.store.checkpoints import find_model

router = APIRouter(prefix="/models", tags=["models"])

MEDIA_TYPES: dict[ExportFormat, str] = {
    "safetensors": "application/octet-stream",
    "npz": "application/zip",
    "onnx": "application/octet-stream",
}
_CONTENT = {"schema": {"type": "string", "format": "binary"}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file.", "content": {"application/octet-stream": _CONTENT}},
    206: {"description": "The part that Range asks for.", "content": {"application/octet-stream": _CONTENT}},
    304: {"description": "The client has it: If-None-Match."},
    416: {"description": "The Range lies outside of the file."},
}


@router.get(
    "/{model_id}/weights",
    summary="Download a model's weights",
    response_class=Response,
    responses={**_RESPONSES, **problem_responses(404, 422, 503)},
)
def get_weights(
    services: ServicesDep,
    model_id: str,
    request: Request,
    form: Annotated[
        ExportFormat,
        Query(alias="format", description="safetensors: layers.{i}.weight [out, in], .bias, and the spec; npz; onnx."),
    ] = "safetensors",
    _range: Annotated[
        str | None, Header(alias="Range", description="A part of the file, such as bytes=0-1023.")
    ] = None,
) -> Response:
    """Download a model: the checkpoint as it is kept, the same arrays for NumPy, or a network that ONNX runtimes run.

    ETag and Repr-Digest are SHA-256 of the whole file. ONNX: `images` float32 [n, 784] in [0, 1] to `probabilities`.
    """
    row = find_model(services.engine, model_id).checkpoint
    content = services.artifacts.read(row.weights_path, row.weights_file_sha256)
    if form != "safetensors":
        checkpoint = decode(content)
        content = to_npz(checkpoint.weights) if form == "npz" else to_onnx(checkpoint.weights, checkpoint.metadata)
    return partial_response(content, MEDIA_TYPES[form], f"{row.job_id}-{row.epoch}.{form}", request.headers)
