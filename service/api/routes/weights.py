"""Downloads of a model's weights as safetensors, npz or ONNX."""

from __future__ import annotations

import threading
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from models.checkpoint import decode
from models.inference.export import ExportFormat, to_npz, to_onnx
from service.api.dependencies import ServicesDep, problem_responses
from service.http.partial_content import Content, content_of_bytes, partial_response
from service.store.checkpoints import find_model

router = APIRouter(prefix="/models", tags=["models"])

MEDIA_TYPES: dict[ExportFormat, str] = {
    "safetensors": "application/octet-stream",
    "npz": "application/zip",
    "onnx": "application/octet-stream",
}
_one_export = threading.Lock()
"""An export takes several times the memory of its file; exports wait for each other."""

_CONTENT = {"schema": {"type": "string", "format": "binary"}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole file.",
        "content": {"application/octet-stream": _CONTENT, "application/zip": _CONTENT},
    },
    206: {
        "description": "The requested range.",
        "content": {"application/octet-stream": _CONTENT, "application/zip": _CONTENT},
    },
    304: {"description": "If-None-Match matches: the client has the file."},
    416: {"description": "The range lies outside the file."},
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
        Query(
            alias="format",
            description="safetensors: layers.{i}.weight [out, in], layers.{i}.bias and the spec; npz; onnx.",
        ),
    ] = "safetensors",
    _range: Annotated[str | None, Header(alias="Range", description="A byte range, such as bytes=0-1023.")] = None,
) -> Response:
    """Download a model: the stored checkpoint (safetensors), the same arrays for NumPy (npz), or an ONNX network.

    ETag and Repr-Digest are the SHA-256 of the whole file. The ONNX network maps `images` float32 [n, 784] in [0, 1]
    to `probabilities` [n, 10]. The arrays are as trained: with standardized inputs their first layer takes
    (x - .1307) / .3081.
    """
    row = find_model(services.engine, model_id).checkpoint
    if form == "safetensors":
        content = Content(*services.artifacts.stored(row.weights_path, row.weights_file_sha256))
    else:
        with _one_export:
            checkpoint = decode(services.artifacts.read(row.weights_path, row.weights_file_sha256))
            make = to_npz if form == "npz" else partial(to_onnx, metadata=checkpoint.metadata)
            content = content_of_bytes(make(checkpoint.weights))
    return partial_response(content, MEDIA_TYPES[form], f"{row.job_id}-{row.epoch}.{form}", request.headers)
