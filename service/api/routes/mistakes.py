"""The test digits that a model classifies wrongly, with their pictures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from service.api.dependencies import Limit, ServicesDep, problem_responses
from service.api.pagination import page
from service.api.routes.datasets import dataset
from service.http.answers import Answer, Page
from service.inference.pictures import png_data_url

router = APIRouter(prefix="/models", tags=["models"])


class Mistake(Answer):
    """A test digit that a model classifies wrongly."""

    model: str = Field(description="The model, as JOB@EPOCH.")
    dataset: str
    index: int = Field(ge=0, description="Index of the test digit, as in GET /datasets/{name}/test/{index}.")
    label: int = Field(ge=0, le=9, description="The digit's label.")
    answer: int = Field(ge=0, le=9, description="The model's prediction.")
    probability: float = Field(ge=0, le=1, description="Probability that the model gives its prediction.")
    probability_of_label: float = Field(ge=0, le=1, description="Probability that the model gives the label.")
    image: str = Field(description="The 28x28 picture, as a data URL of a PNG.")


@router.get(
    "/{model_id}/mistakes",
    summary="List the mistakes of a model",
    responses=problem_responses(404, 422, 503),
)
async def get_mistakes(
    services: ServicesDep,
    model_id: str,
    request: Request,
    response: Response,
    label: Annotated[int | None, Query(ge=0, le=9, description="Only digits with this label.")] = None,
    answer: Annotated[int | None, Query(ge=0, le=9, description="Only digits with this prediction.")] = None,
    after: Annotated[int | None, Query(ge=0, description="Start after this index.")] = None,
    limit: Limit = 20,
) -> Page[Mistake]:
    """List the wrongly classified test digits by index; `label` and `answer` select a cell of the confusion matrix."""
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
            image=png_data_url(digits.images[number]),
        )
        for number in wanted.nonzero()[0][: limit + 1].tolist()
    ]
    return page(request, response, views, limit, str(views[:limit][-1].index) if views else None)
