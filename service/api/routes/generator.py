"""A pre-trained deep belief network as a generator: its samples, and how probable images are to it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from models.checkpoint import read_metadata
from models.errors import InvalidSpec
from models.generator.requests import GeneratorFile, Likelihood, LikelihoodOptions, SampleOptions, Start
from models.vocabulary import DATA_NAMES, PIXELS, DataName
from service.api.dependencies import Services, ServicesDep, problem_responses
from service.api.job_files import on_this_disk
from service.errors import NotFound, Unavailable
from service.http.answers import Answer
from service.inference.pictures import png_data_url
from service.store.checkpoints import CheckpointRow, ModelRow, find_model, list_checkpoints

router = APIRouter(prefix="/models", tags=["models"])


class Frame(Answer):
    """The picture of a chain after a number of Gibbs steps."""

    step: int = Field(ge=0)
    image: str = Field(description="The 28x28 picture, as a data URL of a PNG; pixels are probabilities.")


class Chain(Answer):
    """One Gibbs chain of the top machine, as pictures."""

    frames: list[Frame]
    reconstruction: str | None = Field(
        description="With start=digits: the digit after one way up and down all layers, as a data URL; else null."
    )


class Samples(Answer):
    """Samples of a deep belief network."""

    object: Literal["samples"] = "samples"
    model: str = Field(description="The job whose pre-training it is.")
    start: Start
    layers: list[int] = Field(description="Units of the images and of every machine's hidden layer.")
    chains: list[Chain]


@router.get("/{model_id}/samples", summary="Sample from a belief network", responses=problem_responses(404, 422, 503))
async def get_samples(
    services: ServicesDep, request: Request, model_id: str, options: Annotated[SampleOptions, Query()]
) -> Samples:
    """Run Gibbs chains in the top machine of a model that `dbn` pre-trained, and draw what its layers make of them.

    The machines are those at the end of pre-training: fine-tuning turns them into a classifier. The same seed gives the
    same pictures. Requests take turns with previews.
    """
    async with _generator_of(services, model_id) as (job_id, file):
        found = await services.previews.samples(file, options, request.is_disconnected)
    frames = [(frame.step, _pictures(frame.pictures)) for frame in found.frames]
    rebuilt = None if found.reconstructions is None else _pictures(found.reconstructions)
    return Samples(
        model=job_id,
        start=options.start,
        layers=list(file.sizes),
        chains=[
            Chain(
                frames=[Frame(step=step, image=pictures[number]) for step, pictures in frames],
                reconstruction=None if rebuilt is None else rebuilt[number],
            )
            for number in range(len(frames[0][1]))
        ],
    )


@router.get(
    "/{model_id}/likelihood",
    summary="Get how probable images are to a belief network",
    responses=problem_responses(404, 422, 503),
)
async def get_likelihood(
    services: ServicesDep, request: Request, model_id: str, options: Annotated[LikelihoodOptions, Query()]
) -> Likelihood:
    """Estimate log Z of a machine of a model that `dbn` pre-trained, and the mean log p of images.

    log Z is exact with at most 20 hidden units, else estimated by annealed importance sampling, with its 95 % interval
    (Salakhutdinov, Murray 2008). The default temperatures take about 15 s in 500 units. With more than one of the
    `machines`, log p is the lower bound of the network that they form.
    """
    async with _generator_of(services, model_id) as (_, file):
        there = len(file.sizes) - 1
        if options.machines > there:
            raise InvalidSpec(f"{model_id} has {there} machines, not {options.machines}.", f"Ask for 1 to {there}.")
        return await services.previews.likelihood(file, options, request.is_disconnected)


@asynccontextmanager
async def _generator_of(services: Services, model_id: str) -> AsyncIterator[tuple[str, GeneratorFile]]:
    """Yield the job of a model, and the file of its finished pre-training.

    Raises `NotFound`: also if the job was deleted while its request waited for its turn.
    """
    model, machines = await run_in_threadpool(_trained_machines, services, model_id)
    last = machines[-1]
    try:
        async with on_this_disk(services.artifacts, last) as path:
            file = GeneratorFile(
                path=str(path),
                sha256=last.weights_file_sha256,
                number=last.epoch,
                sizes=model.spec.architecture.sizes[:-1],
                data=await run_in_threadpool(_data_of, services, model.checkpoint),
            )
            yield model.checkpoint.job_id, file
    except Unavailable:
        await run_in_threadpool(find_model, services.engine, model_id)
        raise


def _trained_machines(services: Services, model_id: str) -> tuple[ModelRow, Sequence[CheckpointRow]]:
    """Return a model and the checkpoints of its pre-training. Raises `NotFound`."""
    model = find_model(services.engine, model_id)
    spec = model.spec
    rows = list_checkpoints(services.engine, model.checkpoint.job_id, phase="pretrain")
    if not rows:
        cause = "its job ended before pre-trainings were kept" if spec.pretrains else "its scheme pre-trains nothing"
        raise NotFound(
            f"{model_id} ({spec.init.scheme}) is no generator: {cause}.",
            'Train a model with "init": {"scheme": "dbn"} and "activation": "sigmoid".',
        )
    return model, rows


def _data_of(services: Services, checkpoint: CheckpointRow) -> DataName:
    """Return the data that a model was trained on, which its file names."""
    with (
        services.artifacts.local_copy(checkpoint.weights_path, checkpoint.weights_file_sha256) as path,
        path.open("rb") as file,
    ):
        data = read_metadata(file).data
    return next(name for name in DATA_NAMES if name == data)


def _pictures(encoded: str) -> list[str]:
    pixels = np.frombuffer(base64.b64decode(encoded), dtype=np.uint8).reshape(-1, PIXELS)
    return [png_data_url(one.reshape(28, 28)) for one in pixels]
