"""Models: the checkpoints that can be served, and how good they are."""

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


@router.get("/{model_id}", summary="Look at a model", responses=problem_responses(404))
def get_model(services: ServicesDep, model_id: str) -> Model:
    """Look at a model: `latest`, a job's id (its last checkpoint), or JOB@EPOCH (JOB@0: the initial weights)."""
    return model_view(find_model(services.engine, model_id), of_epoch="@" in model_id)


@router.get("/{model_id}/evaluation", summary="Show how good a model is", responses=problem_responses(404))
def get_evaluation(services: ServicesDep, model_id: str) -> Evaluation:
    """Show how good a model is: accuracy with its interval and what it is of, per class, confusion matrix.

    The worker stores it with the final epoch of a job.
    """
    checkpoint = find_model(services.engine, model_id).checkpoint
    if checkpoint.evaluation is None:
        raise NotFound(
            f"Epoch {checkpoint.epoch} of {checkpoint.job_id} has no evaluation: it is made for the final epoch.",
            "Wait until the job has succeeded; with validation_images every epoch's metrics have an accuracy.",
        )
    return checkpoint.evaluation
