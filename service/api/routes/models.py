"""Models: the checkpoints that can predict, and their evaluations."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from models.results import Evaluation
from service.api.dependencies import After, Limit, ServicesDep, problem_responses
from service.api.pagination import page
from service.api.schemas.models import Model, model_view
from service.errors import NotFound
from service.http.answers import Page
from service.store.checkpoints import find_model, list_models

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", summary="List models", responses=problem_responses(422))
def get_models(
    services: ServicesDep, request: Request, response: Response, after: After = None, limit: Limit = 20
) -> Page[Model]:
    """List models, newest job first: the last committed checkpoint of every job that has one."""
    rows = list_models(services.engine, after=after, limit=limit + 1)
    views = [model_view(row, of_epoch=False) for row in rows]
    return page(request, response, views, limit, views[:limit][-1].id if views else None)


@router.get("/{model_id}", summary="Get a model", responses=problem_responses(404))
def get_model(services: ServicesDep, model_id: str) -> Model:
    """Get a model: `latest`, an alias, a job's id (its last checkpoint), or JOB@EPOCH (JOB@0: the initial weights)."""
    return model_view(find_model(services.engine, model_id), of_epoch="@" in model_id)


@router.get("/{model_id}/evaluation", summary="Get the evaluation of a model", responses=problem_responses(404))
def get_evaluation(services: ServicesDep, model_id: str) -> Evaluation:
    """Get the evaluation of a model: accuracy with its interval, accuracy per class, confusion matrix.

    `evaluated_on` names the images. Only the model of a job's final epoch has an evaluation.
    """
    checkpoint = find_model(services.engine, model_id).checkpoint
    if checkpoint.evaluation is None:
        raise NotFound(
            f"Epoch {checkpoint.epoch} of {checkpoint.job_id} has no evaluation: only the final epoch has one.",
            "Wait until the job has succeeded. With validation_images the metrics of every epoch have an accuracy.",
        )
    return checkpoint.evaluation
