"""Experiments: jobs that one request submits, and their comparison. Recipes are published claims to test."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from models.evaluation.comparison import Comparison
from models.recipes import LONG, RECIPES
from service.api.dependencies import (
    After,
    ExperimentObject,
    IdempotencyKey,
    LabelTexts,
    Limit,
    ServicesDep,
    label_filters,
    problem_responses,
    unquoted,
)
from service.api.experiment_requests import ExperimentBody, RecipeBody, request_of
from service.api.experiment_views import (
    answer_in_transaction,
    comparison_of,
    csv_of,
    csv_of_pairs,
    experiment_view,
    summary_fields,
)
from service.api.job_files import delete_files
from service.api.pagination import page
from service.api.preconditions import set_etag
from service.api.rate_refinement import refined_members
from service.api.routes.events import RESPONSES, HowAsked, events_answer
from service.api.schemas.events import Event
from service.api.schemas.experiments import DeletedExperiment, Experiment, ExperimentSummary, RecipeView
from service.errors import IllegalTransition
from service.http.accept import prefers
from service.http.answers import JsonResponse, Page
from service.queue.submission import Once
from service.store.experiments import (
    get_experiment,
    list_experiments,
    list_members,
    state_counts,
)
from service.store.job_transitions import delete_experiment
from service.store.jobs import ENDED

router = APIRouter(tags=["experiments"])

_SUBMIT_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [{"$ref": "#/components/schemas/ExperimentBody"}, {"$ref": "#/components/schemas/RecipeBody"}]
            },
            "examples": {
                "schemes": {
                    "summary": "He against Xavier, three seeds each",
                    "value": {
                        "base": {"preset": "mnist_nn_xavier", "epochs": 3},
                        "schemes": ["he_normal", {"scheme": "xavier_uniform", "gain": 1}],
                        "seeds": [0, 1, 2],
                    },
                },
                "recipe": {"summary": "Test a published claim", "value": {"recipe": "R7"}},
            },
        }
    },
}
BODY_MODELS = (ExperimentBody, RecipeBody)
"""Models of request bodies; the application adds their schemas to the OpenAPI document."""


@router.get("/recipes", summary="List the recipes", responses=problem_responses())
def get_recipes() -> Page[RecipeView]:
    """List the published claims that can be tested, each with its source and its criterion."""
    views = [
        RecipeView(
            name=recipe.name,
            title=recipe.title,
            claim=recipe.claim,
            source=recipe.source,
            expected=recipe.expected,
            seeds=list(recipe.seeds),
            least_seeds=recipe.least_seeds,
            members=len(recipe.members(recipe.seeds)),
            is_long=recipe.name in LONG,
        )
        for recipe in RECIPES.values()
    ]
    return Page[RecipeView](data=views, has_more=False)


@router.post(
    "/experiments",
    summary="Submit an experiment",
    status_code=201,
    response_model=Experiment,
    openapi_extra={"requestBody": _SUBMIT_BODY},
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def submit_experiment(
    services: ServicesDep, body: ExperimentObject, response: Response, idempotency_key: IdempotencyKey = None
) -> Any:
    """Queue a job for each combination of scheme, depth, variant and seed, or the jobs of a recipe: all or none.

    Members are ordinary jobs, each with its own events and model; several of them can train at the same time.
    """
    request = await run_in_threadpool(request_of, body)
    once = None
    if idempotency_key is not None:
        fingerprint = hashlib.sha256(json.dumps(["experiment", body], sort_keys=True).encode()).hexdigest()
        once = Once(unquoted(idempotency_key), fingerprint, answer_in_transaction)
    experiment_id, answer = await run_in_threadpool(services.queue.submit_experiment, request, once)
    if experiment_id is None:
        assert answer is not None
        headers = {"Location": answer["links"]["self"], "Idempotency-Replayed": "true"}
        return JsonResponse(answer, status_code=201, headers=headers)
    response.headers["Location"] = f"/experiments/{experiment_id}"
    return await run_in_threadpool(experiment_view, services, experiment_id)


@router.get("/experiments", summary="List experiments", responses=problem_responses(422))
def get_experiments(
    services: ServicesDep,
    request: Request,
    response: Response,
    label: LabelTexts = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[ExperimentSummary]:
    """List experiments, newest first."""
    rows = list_experiments(services.engine, labels=label_filters(label), after=after, limit=limit + 1)
    counts = state_counts(services.engine, [row.id for row in rows])
    views = [ExperimentSummary(**summary_fields(row, counts[row.id])) for row in rows]
    return page(request, response, views, limit, views[:limit][-1].id if views else None)


@router.get("/experiments/{experiment_id}", summary="Get an experiment", responses=problem_responses(404))
def get_one_experiment(services: ServicesDep, experiment_id: str, response: Response) -> Experiment:
    """Get an experiment: its members with their states and accuracies, and the verdict of a recipe."""
    view = experiment_view(services, experiment_id)
    set_etag(response, view.version)
    return view


@router.get(
    "/experiments/{experiment_id}/events",
    summary="List or stream the events of an experiment",
    response_model=Page[Event],
    responses={**RESPONSES, **problem_responses(404, 422, 503)},
)
def get_events_of_experiment(services: ServicesDep, asked: HowAsked, experiment_id: str) -> Any:
    """List or stream the events of all members; the stream ends when all of them have ended."""
    get_experiment(services.engine, experiment_id)
    return events_answer(services, asked, [member.job_id for member in list_members(services.engine, experiment_id)])


@router.get(
    "/experiments/{experiment_id}/comparison",
    summary="Compare the members of an experiment",
    response_model=Comparison,
    responses={
        200: {
            "description": "JSON, or CSV with one row per member.",
            "content": {"text/csv": {"schema": {"type": "string"}, "example": "job_id,seed,init.scheme,accuracy\n..."}},
        },
        **problem_responses(404, 422),
    },
)
def get_comparison(
    services: ServicesDep,
    experiment_id: str,
    baseline: Annotated[
        str | None, Query(max_length=200, description="Name of a group that all others are compared with (Dunnett).")
    ] = None,
    rates: Annotated[
        Literal["all", "best"] | None,
        Query(
            description="best: each scheme at its own best learning rate, chosen on validation images; the default "
            "where the experiment has `rates`. all: every rate is a group."
        ),
    ] = None,
    table: Annotated[
        Literal["members", "pairs"], Query(description="What a row of the CSV is: a member, or a pair of groups.")
    ] = "members",
    accept: Annotated[str, Header(description="text/csv returns a table.")] = "",
) -> Any:
    """Compare the members that have succeeded, in groups that differ in more than the seed: means and intervals.

    Pairs of groups are compared on their common seeds (from 3 seeds on, by chance in seeds and images, adjusted by Holm
    for all pairs, or by Dunnett's against a baseline), and their models on the same images (exact McNemar test). Labels
    contain only the fields in which members differ. The CSV lists all members, in any state.
    """
    experiment = get_experiment(services.engine, experiment_id)
    is_table = prefers(accept, "text/csv", over="application/json")
    if is_table and table == "members":
        return Response(csv_of(services, experiment_id), media_type="text/csv")
    chosen = rates or ("best" if experiment.request.get("rates") else "all")
    comparison = comparison_of(services.engine, experiment_id, baseline, chosen)
    return Response(csv_of_pairs(comparison), media_type="text/csv") if is_table else comparison


@router.delete("/experiments/{experiment_id}", summary="Delete an experiment", responses=problem_responses(404, 409))
def delete_one_experiment(services: ServicesDep, experiment_id: str) -> DeletedExperiment:
    """Delete an experiment with all its members and their models, or nothing while a worker has one of them."""
    members, may_go = delete_experiment(services.engine, experiment_id)
    if may_go:  # else the sweep deletes the files when the backup that copies them is over
        delete_files(services.artifacts, members)
    return DeletedExperiment(id=experiment_id, members=len(members))


@router.post(
    "/experiments/{experiment_id}/refine",
    summary="Refine the learning rates of an experiment",
    responses=problem_responses(404, 409, 422, 503),
)
def refine_experiment(services: ServicesDep, experiment_id: str) -> Experiment:
    """Add members at learning rates around the best one of each group: halfway to its neighbours, or beyond an edge.

    Half means the geometric mean. All members must have ended, and been submitted with `rates`. Each request adds at
    most two rates a group with all seeds; repeated, it closes in on the best rate to a factor of 1.1.
    """
    row = get_experiment(services.engine, experiment_id)
    services.queue.extend_experiment(row, refined_members(services.engine, row))
    return experiment_view(services, experiment_id)


@router.post("/experiments/{experiment_id}/cancel", summary="Cancel an experiment", responses=problem_responses(404))
def cancel_experiment(services: ServicesDep, experiment_id: str) -> Experiment:
    """Cancel all members that have not ended; the others keep their models."""
    get_experiment(services.engine, experiment_id)
    for member in list_members(services.engine, experiment_id):
        if member.state not in ENDED:
            with suppress(IllegalTransition):  # it has ended in the meantime
                services.queue.apply_action(member.job_id, "cancel")
    return experiment_view(services, experiment_id)
