"""The test digits that a model gets wrong, with their pictures."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from service.api.dependencies import Limit, ServicesDep, problem_responses
from service.api.pagination import page
from service.api.routes.datasets import dataset
from service.http.answers import Answer, Page
from service.inference.pictures import encode_png

router = APIRouter(prefix="/models", tags=["models"])


class Mistake(Answer):
    """A test digit that is answered wrongly."""

    model: str = Field(description="JOB@EPOCH: exactly these weights.")
    dataset: str
    index: int = Field(ge=0, description="Of the test digit, as in GET /datasets/{name}/test/{index}.")
    label: int = Field(ge=0, le=9, description="What it is.")
    answer: int = Field(ge=0, le=9, description="What the model says.")
    probability: float = Field(ge=0, le=1, description="How probable the model thinks its answer.")
    probability_of_label: float = Field(ge=0, le=1, description="How probable the model thinks the right one.")
    image: str = Field(description="The 28x28 picture, a PNG as a data URL.")


@router.get(
    "/{model_id}/mistakes",
    summary="List the test digits a model gets wrong",
    responses=problem_responses(404, 422, 503),
)
async def get_mistakes(
    services: ServicesDep,
    model_id: str,
    request: Request,
    response: Response,
    label: Annotated[int | None, Query(ge=0, le=9, description="Only digits that are this.")] = None,
    answer: Annotated[int | None, Query(ge=0, le=9, description="Only digits that are taken for this.")] = None,
    after: Annotated[int | None, Query(ge=0, description="Start after this index.")] = None,
    limit: Limit = 20,
) -> Page[Mistake]:
    """List test digits with their pictures, by index; `label` and `answer` give one cell of the confusion matrix."""
    served = await services.answering.find(model_id)
    digits = (await run_in_threadpool(dataset, served.predictor.metadata.data, services.data_dir)).test
    probabilities = await services.answering.by_pieces(served.predictor.predict, digits.images)
    answers = probabilities.argmax(axis=1)
    wanted = answers != digits.labels
    wanted &= (digits.labels == label) if label is not None else True
    wanted &= (answers == answer) if answer is not None else True
    wanted[: 0 if after is None else after + 1] = False
    views = [
        Mistake(
            model=served.id,
            dataset=served.predictor.metadata.data,
            index=number,
            label=int(digits.labels[number]),
            answer=int(answers[number]),
            probability=float(probabilities[number].max()),
            probability_of_label=float(probabilities[number][digits.labels[number]]),
            image=f"data:image/png;base64,{base64.b64encode(encode_png(digits.images[number])).decode()}",
        )
        for number in wanted.nonzero()[0][: limit + 1].tolist()
    ]
    return page(request, response, views, limit, str(views[:limit][-1].index) if views else None)
