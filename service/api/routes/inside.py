"""What happens inside of a model: distributions in its layers, and the path of one image through them."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from models.checkpoint import read_metadata
from models.diagnostics.distributions import Distributions, WeightsFile
from models.errors import CheckpointDamaged, InvalidImage
from models.inference.compiled_forward import Floats
from models.inference.image_path import path_of
from models.vocabulary import DATA_NAMES
from service.api.dependencies import ServicesDep, problem_responses
from service.api.job_files import on_this_disk
from service.api.routes.predict import BODY
from service.http.answers import Answer
from service.http.json_body import media_type_of
from service.inference.answers import PredictedBy, predicted_by
from service.inference.fast_path import content_type_and_accept, read_body
from service.inference.query import PredictOptions, read_query
from service.store.checkpoints import CheckpointRow, find_model

router = APIRouter(prefix="/models", tags=["models"])

MAX_UNITS_SHOWN = 1024
SIGNIFICANT_DIGITS = 5


class LayerOfPath(Answer):
    """What one layer makes of the image."""

    layer: int = Field(ge=0, description="0: the image; then the layers in order, the last of which has the logits.")
    units: int = Field(description="How many units the layer has.")
    activations: list[float] = Field(
        description=f"Of the first {MAX_UNITS_SHOWN:,} units, with {SIGNIFICANT_DIGITS} significant digits; of the "
        "image its 784 pixels / 255."
    )


class LinkOfPath(Answer):
    """What a unit contributes to a unit of the next layer: w h, a summand of its z."""

    layer: int = Field(ge=2, description="Layer of the target.")
    source: int = Field(ge=0, description="Number of the unit in the layer below, from 0.")
    target: int = Field(ge=0, description="Number of the unit in the layer, from 0.")
    contribution: float = Field(description="The weight times the activation of the source.")


class Path(Answer):
    """The path of one image through a network."""

    object: Literal["path"] = "path"
    model: PredictedBy
    label: int = Field(ge=0, le=9, description="The most probable digit.")
    probabilities: list[float]
    layers: list[LayerOfPath]
    links: list[LinkOfPath] = Field(
        description="From the answer down: of each traced unit the 4 largest contributions, and of the units that they "
        "come from at most 12 a layer. They end at the first hidden layer."
    )


@router.get(
    "/{model_id}/distributions",
    summary="Get the distributions in the layers of a model",
    responses=problem_responses(404, 422, 503),
)
async def get_distributions(services: ServicesDep, model_id: str, request: Request) -> Distributions:
    """Get histograms of the weights, their gradients, the activations, and the cosines between units, by layer.

    They are taken from the checkpoint that the name means (`JOB@0`: before training) and the first 512 training images;
    a training records none of them. Requests take turns with previews.
    """
    row = await run_in_threadpool(find_model, services.engine, model_id)
    parameters = row.spec.architecture.parameter_count
    async with on_this_disk(services.artifacts, row.checkpoint) as path:
        file = await run_in_threadpool(_weights_file, path, row.checkpoint)
        return await services.previews.distributions(file, parameters, request.is_disconnected)


@router.post(
    "/{model_id}/path",
    summary="Follow an image through a model",
    openapi_extra={"requestBody": BODY},
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def get_path(
    services: ServicesDep, model_id: str, request: Request, _options: Annotated[PredictOptions, Query()]
) -> Path:
    """Get the activations of every layer for one image, and the strongest links from the answer back to the first.

    The body is that of POST /predict, and so are the options `fit`, `scale` and `shape`. The others change nothing.
    """
    query = read_query(request.scope["query_string"], model_id)
    content_type, _ = content_type_and_accept(request.scope)
    body, media_type = await request.body(), media_type_of(content_type)
    read, query = await read_body(services.answering, request.scope, body, media_type, query)
    if len(read.images) != 1:
        raise InvalidImage(f"The body has {len(read.images)} images; a path is of one.", "Send one image.")
    served = await services.answering.find(query.model)
    path = await run_in_threadpool(path_of, served.predictor, read.images[0])
    probabilities = path.probabilities
    return Path(
        model=predicted_by(served.row),
        label=int(probabilities.argmax()),
        probabilities=probabilities.tolist(),
        layers=[
            LayerOfPath(layer=number, units=len(values), activations=_short(values[:MAX_UNITS_SHOWN]))
            for number, values in enumerate(path.layers)
        ],
        links=[LinkOfPath(**link._asdict()) for link in path.links],
    )


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in values.tolist()]


def _weights_file(path: FilePath, checkpoint: CheckpointRow) -> WeightsFile:
    with path.open("rb") as file:
        data = read_metadata(file).data
    name = next((one for one in DATA_NAMES if one == data), None)
    if name is None:
        raise CheckpointDamaged(f"The metadata of {checkpoint.weights_path} name no data set.", "Restore a backup.")
    return WeightsFile(
        path=str(path),
        sha256=checkpoint.weights_file_sha256,
        model=f"{checkpoint.job_id}@{checkpoint.epoch}",
        data=name,
    )
