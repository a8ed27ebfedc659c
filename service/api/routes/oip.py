"""Routes of the Open Inference Protocol v2 (KServe, Triton); see `service.inference.oip`.

Model names are those of the rest of the API; versions are epochs.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version as version_of
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, ValidationError

from service.api.dependencies import Services, ServicesDep, problem_responses
from service.errors import NotFound
from service.http.json_body import parse_images
from service.http.measures import note_predictions
from service.http.numbers import whole_number
from service.http.problems import invalid_body
from service.inference.batching import SMALL_BATCH
from service.inference.model_resolver import ResolvedModel
from service.inference.oip import EXTENSIONS, INPUT, LABELS, PROBABILITIES, InferenceAnswer, read_request, write_answer
from service.inference.written_answers import warnings_of_inputs
from service.store.aliases import list_aliases
from service.store.checkpoints import list_checkpoints, list_models

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
WARNINGS = "X-Warnings"
HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_LISTED = 1000


class ServerMetadata(BaseModel):
    """Name, version and protocol extensions of the server."""

    name: str = "fanin"
    version: str
    extensions: list[str]


class Liveness(BaseModel):
    """Two fields of the same value: the protocol's text names `live`, existing clients read `ready`."""

    live: bool = True
    ready: bool = True


class TensorMetadata(BaseModel):
    """A tensor of a model; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The input and output tensors of a model."""

    name: str
    versions: list[str] = Field(description="Epochs that have a checkpoint.")
    platform: str = "fanin_mlp"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(Liveness):
    """Readiness of a model."""

    name: str


class IndexEntry(BaseModel):
    """A model or an alias in the index of the repository."""

    name: str
    version: str
    state: str = "READY"
    reason: str = ""


@router.get("", summary="Server metadata", responses=problem_responses())
@router.get("/", include_in_schema=False)
def get_server() -> ServerMetadata:
    """Get the server's name, version and protocol extensions."""
    return ServerMetadata(version=version_of("fanin"), extensions=EXTENSIONS)


@router.get("/health/live", summary="Server liveness", responses=problem_responses())
def get_live() -> Liveness:
    """Report that the process is alive."""
    return Liveness()


@router.get("/health/ready", summary="Server readiness", responses=problem_responses(503))
def get_ready(services: ServicesDep) -> Liveness:
    """Report what /readyz does; models are loaded on first use."""
    services.readiness.check()
    return Liveness()


@router.get("/models/stats", summary="Statistics of all models", responses=problem_responses())
async def get_all_stats(services: ServicesDep) -> dict[str, Any]:
    """Get the number of inferences in this API process, by model name; only requests under /v2 count."""
    return {"model_stats": [_stats(name, counts) for name, counts in services.answering.counts.items()]}


@router.get("/models/{model_name}", summary="Model metadata", responses=problem_responses(404, 503))
async def get_metadata(services: ServicesDep, model_name: str) -> ModelMetadata:
    """Get a model's tensors. The input is [n,28,28], [n,1,28,28] or [n,784], UINT8 0..255 or FP32 0..1."""
    return await _metadata(services, model_name, None)


@router.get(
    "/models/{model_name}/versions/{version}",
    summary="Model version metadata",
    responses=problem_responses(404, 503),
)
async def get_version_metadata(services: ServicesDep, model_name: str, version: str) -> ModelMetadata:
    """Get the tensors of a version of a model."""
    return await _metadata(services, model_name, version)


async def _metadata(services: Services, model_name: str, version: str | None) -> ModelMetadata:
    served = await _found(services, model_name, version)
    rows = await run_in_threadpool(list_checkpoints, services.engine, served.row.checkpoint.job_id, "train")
    return ModelMetadata(
        name=model_name,
        versions=[str(row.epoch) for row in rows],
        inputs=[TensorMetadata(name=INPUT, datatype="UINT8", shape=[-1, 28, 28])],
        outputs=[
            TensorMetadata(name=PROBABILITIES, datatype="FP32", shape=[-1, 10]),
            TensorMetadata(name=LABELS, datatype="INT64", shape=[-1]),
        ],
    )


@router.get("/models/{model_name}/ready", summary="Model readiness", responses=problem_responses(404, 503))
async def get_model_ready(services: ServicesDep, model_name: str) -> ModelReady:
    """Load a model and report that it is ready."""
    await _found(services, model_name, None)
    return ModelReady(name=model_name)


@router.get(
    "/models/{model_name}/versions/{version}/ready",
    summary="Model version readiness",
    responses=problem_responses(404, 503),
)
async def get_version_ready(services: ServicesDep, model_name: str, version: str) -> ModelReady:
    """Load a version of a model and report that it is ready."""
    await _found(services, model_name, version)
    return ModelReady(name=model_name)


@router.get("/models/{model_name}/config", summary="Model configuration", responses=problem_responses(404, 503))
async def get_config(services: ServicesDep, model_name: str) -> dict[str, Any]:
    """Get the spec of the training of a model."""
    served = await _found(services, model_name, None)
    return {"name": model_name, "platform": "fanin_mlp", "max_batch_size": 10_000, "spec": served.row.spec}


_INFER: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}},
                "application/octet-stream": {
                    "schema": {
                        "type": "string",
                        "format": "binary",
                        "description": f"{HEADER_LENGTH} bytes of JSON, then the tensor.",
                    }
                },
            },
        }
    },
    "response_model": InferenceAnswer,
    "responses": problem_responses(400, 404, 413, 422, 503),
}


JsonLength = Annotated[
    str | None, Header(alias=HEADER_LENGTH, description="Bytes of JSON before the tensors; 0: no JSON.")
]


@router.post("/models/{model_name}/infer", summary="Infer", **_INFER)
async def infer(services: ServicesDep, model_name: str, request: Request, header_length: JsonLength = None) -> Any:
    """Predict digits: tensors `probabilities` [n,10] and `labels` [n], or strings with `classification`.

    The header X-Warnings names images that are unlike the training digits: `0:dark_on_light, 2:noise`.
    """
    return await _inferred(services, model_name, None, await request.body(), header_length)


@router.post("/models/{model_name}/versions/{version}/infer", summary="Infer with a version", **_INFER)
async def infer_with_version(
    services: ServicesDep, model_name: str, version: str, request: Request, header_length: JsonLength = None
) -> Any:
    """Predict digits with a version of a model."""
    return await _inferred(services, model_name, version, await request.body(), header_length)


async def _inferred(
    services: Services, model_name: str, version: str | None, body: bytes, header_length: str | None
) -> Response:
    try:
        read = await services.answering.decoding.run(partial(read_request, body, header_length), body)
    except ValidationError as error:
        raise invalid_body(error, parse_images(body[: whole_number(header_length or "") or len(body)])) from error
    served = await _found(services, model_name, version)
    if len(read.inputs) > SMALL_BATCH:
        probabilities = await services.answering.by_pieces(served.predictor.predict_inputs, read.inputs)
    else:
        probabilities = served.predictor.predict_inputs(read.inputs)
    services.answering.count(model_name, len(read.inputs))
    note_predictions(served.id, len(read.inputs))
    version = str(served.row.checkpoint.epoch)
    written = await run_in_threadpool(write_answer, model_name, version, read.request, probabilities)
    warnings = await run_in_threadpool(warnings_of_inputs, read.inputs)
    headers = {WARNINGS: warnings} if warnings else {}
    if written.header_length is None:
        return Response(written.content, headers=headers, media_type="application/json")
    headers[HEADER_LENGTH] = str(written.header_length)
    return Response(written.content, headers=headers, media_type="application/octet-stream")


@router.get("/models/{model_name}/stats", summary="Statistics of a model", responses=problem_responses(404, 503))
async def get_stats(services: ServicesDep, model_name: str) -> dict[str, Any]:
    """Get the number of inferences of a model name in this API process; only requests under /v2 count."""
    await _found(services, model_name, None)
    return {"model_stats": [_stats(model_name, services.answering.counts.get(model_name, (0, 0)))]}


@router.get(
    "/models/{model_name}/versions/{version}/stats",
    summary="Statistics of a version",
    responses=problem_responses(404, 503),
)
async def get_version_stats(services: ServicesDep, model_name: str, version: str) -> dict[str, Any]:
    """Get the number of inferences of a model name in this API process; they are counted by name, not by version."""
    await _found(services, model_name, version)
    return {"model_stats": [_stats(model_name, services.answering.counts.get(model_name, (0, 0)))]}


def _stats(name: str, counts: tuple[int, int]) -> dict[str, Any]:
    return {"name": name, "version": "", "inference_count": counts[1], "execution_count": counts[0]}


@router.post("/repository/index", summary="List the models of the repository", responses=problem_responses())
def index(services: ServicesDep) -> list[IndexEntry]:
    """List the models, newest first, then the aliases; the body may be empty."""
    models = [
        IndexEntry(name=row.checkpoint.job_id, version=str(row.checkpoint.epoch))
        for row in list_models(services.engine, after=None, limit=MAX_LISTED)
    ]
    aliases = list_aliases(services.engine, after=None, limit=MAX_LISTED)
    return models + [IndexEntry(name=row.name, version=str(row.epoch)) for row in aliases]


async def _found(services: Services, name: str, version: str | None) -> ResolvedModel:
    if version is None:
        return await services.answering.find(name)
    if whole_number(version) is None:
        raise NotFound(f"There is no version {version!r}: versions are epochs.", f"GET /v2/models/{name} lists them.")
    of_name = await services.answering.find(name)
    return await services.answering.find(f"{of_name.row.checkpoint.job_id}@{version}")
