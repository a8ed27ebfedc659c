"""Experiments: many jobs from one request, compared; and published claims as recipes with a verdict."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import Connection

from models.evaluation.comparison import Comparison, compare, differing_fields, flattened, short_names
from models.recipes import LONG, RECIPES
from models.spec import TrainSpec
from models.vocabulary import DEFAULT_SEED
from service.api.dependencies import (
    After,
    IdempotencyKey,
    JsonObject,
    Limit,
    Services,
    ServicesDep,
    problem_responses,
    unquoted,
)
from service.api.experiment_requests import ExperimentBody, RecipeBody, specs_of
from service.api.pagination import page
from service.api.routes.events import RESPONSES, HowAsked, events_answer
from service.api.schemas import Event
from service.errors import IllegalTransition
from service.http.answers import Answer, Page
from service.queue.submission import Once
from service.store.experiments import (
    ExperimentRow,
    MemberRow,
    compared_members,
    find_experiment,
    get_experiment,
    list_experiments,
    list_members,
    members_of,
    outcomes_of,
    state_counts,
)
from service.store.jobs import ENDED, JobState

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
                "recipe": {"summary": "A published claim, with a verdict", "value": {"recipe": "R7"}},
            },
        }
    },
}
MAX_NAMED = 4
USUAL_SCHEME = TrainSpec().init.scheme  # of both presets too
BODY_MODELS = (ExperimentBody, RecipeBody)
"""Models that request bodies refer to; the application adds them to the OpenAPI document."""


class RecipeView(Answer):
    """A claim about initialization that can be tried."""

    name: str
    object: Literal["recipe"] = "recipe"
    title: str
    claim: str
    source: str
    expected: str = Field(description="When the claim counts as reproduced; fixed before it is tried.")
    seeds: list[int]
    least_seeds: int = Field(description="Fewer seeds cannot be judged.")
    members: int = Field(description="Jobs that it takes.")
    is_long: bool = Field(description="Whether it takes many minutes.")


class Verdict(Answer):
    """What became of a recipe's claim."""

    measured: str | None = Field(description="Null until all members have ended.")
    holds: bool | None = Field(description="Whether the claim was reproduced; null if that cannot be said.")
    reason: str | None = Field(description="Why it cannot be said.")
    table: list[list[str]] = Field([], description="More of what was measured, where there is more; its head first.")


class Member(Answer):
    """One job of an experiment."""

    job_id: str
    state: JobState
    seed: int
    name: str = Field(description="The label in short; members that differ in nothing but their seed share it.")
    label: dict[str, Any] = Field(description="The fields of its spec in which members differ.")
    accuracy: float | None


class ExperimentLinks(Answer):
    """Where to go from an experiment."""

    self: str
    events: str
    comparison: str
    cancel: str


class ExperimentSummary(Answer):
    """Jobs that were submitted together."""

    id: str
    object: Literal["experiment"] = "experiment"
    name: str = Field(description="What it tries, in short: its recipe, or its schemes and seeds.")
    recipe: str | None
    states: dict[JobState, int] = Field(description="How many members are in each state.")
    has_ended: bool = Field(description="Whether all members have.")
    created_at: datetime
    links: ExperimentLinks


class Experiment(ExperimentSummary):
    """Jobs that were submitted together, one by one; of a recipe also its verdict."""

    request: dict[str, Any]
    members: list[Member]
    verdict: Verdict | None = Field(description="Of a recipe.")


@router.get("/recipes", summary="List the recipes", responses=problem_responses())
def get_recipes() -> Page[RecipeView]:
    """List the claims that can be tried, each with its source and what counts as reproduced."""
    views = [
        RecipeView(
            name=one.name,
            title=one.title,
            claim=one.claim,
            source=one.source,
            expected=one.expected,
            seeds=list(one.seeds),
            least_seeds=one.least_seeds,
            members=len(one.members(one.seeds)),
            is_long=one.name in LONG,
        )
        for one in RECIPES.values()
    ]
    return Page[RecipeView](data=views, has_more=False)


@router.post(
    "/experiments",
    summary="Train many models to compare them",
    status_code=201,
    response_model=Experiment,
    openapi_extra={"requestBody": _SUBMIT_BODY},
    responses=problem_responses(400, 404, 413, 415, 422, 503),
)
async def submit_experiment(
    services: ServicesDep, body: JsonObject, response: Response, idempotency_key: IdempotencyKey = None
) -> Any:
    """Train a member for every scheme, depth, variant and seed, or the members of a recipe; all are queued, or none.

    Members are jobs like any other, each with its own events and model; workers train them side by side.
    """
    recipe, specs = specs_of(body)
    once = None
    if idempotency_key is not None:
        fingerprint = hashlib.sha256(json.dumps(["experiment", body], sort_keys=True).encode()).hexdigest()
        once = Once(unquoted(idempotency_key), fingerprint, _answer_in)
    submit = partial(services.queue.submit_experiment, specs, recipe, body, once)
    experiment_id, answer = await run_in_threadpool(submit)
    if experiment_id is None:
        assert answer is not None
        headers = {"Location": answer["links"]["self"], "Idempotency-Replayed": "true"}
        return JSONResponse(answer, status_code=201, headers=headers)
    response.headers["Location"] = f"/experiments/{experiment_id}"
    return await run_in_threadpool(_view, services, experiment_id)


@router.get("/experiments", summary="List experiments", responses=problem_responses(422))
def get_experiments(
    services: ServicesDep, request: Request, response: Response, after: After = None, limit: Limit = 20
) -> Page[ExperimentSummary]:
    """List experiments, newest first."""
    rows = list_experiments(services.engine, after=after, limit=limit + 1)
    counts = state_counts(services.engine, [row.id for row in rows])
    views = [ExperimentSummary(**_summary(row, counts[row.id])) for row in rows]
    return page(request, response, views, limit, views[:limit][-1].id if views else None)


@router.get("/experiments/{experiment_id}", summary="Look at an experiment", responses=problem_responses(404))
def get_one_experiment(services: ServicesDep, experiment_id: str) -> Experiment:
    """Look at an experiment: its members with their states and accuracies, and the verdict of a recipe."""
    return _view(services, experiment_id)


@router.get(
    "/experiments/{experiment_id}/events",
    summary="List or follow the events of an experiment",
    response_model=Page[Event],
    responses={**RESPONSES, **problem_responses(404, 422)},
)
def get_events_of_experiment(services: ServicesDep, asked: HowAsked, experiment_id: str) -> Any:
    """List or follow what happened to all members, in one stream; it ends when all of them have."""
    get_experiment(services.engine, experiment_id)
    return events_answer(services, asked, [member.job_id for member in list_members(services.engine, experiment_id)])


@router.get(
    "/experiments/{experiment_id}/comparison",
    summary="Compare the members of an experiment",
    response_model=Comparison,
    responses={
        200: {
            "description": "As JSON, or a row a member as CSV.",
            "content": {"text/csv": {"schema": {"type": "string"}, "example": "job_id,seed,init.scheme,accuracy\n..."}},
        },
        **problem_responses(404),
    },
)
def get_comparison(
    services: ServicesDep,
    experiment_id: str,
    accept: Annotated[str, Header(description="text/csv for a table with a row a member.")] = "",
) -> Any:
    """Compare the members that have succeeded: groups that differ in more than the seed, with means and intervals.

    Pairs of groups are compared on the same seeds, and their models image by image (exact McNemar). Only the fields
    in which members differ are named.
    """
    get_experiment(services.engine, experiment_id)
    if "text/csv" in accept:
        return Response(_csv(services, experiment_id), media_type="text/csv")
    return compare(compared_members(services.engine, experiment_id))


@router.post("/experiments/{experiment_id}/cancel", summary="Cancel an experiment", responses=problem_responses(404))
def cancel_experiment(services: ServicesDep, experiment_id: str) -> Experiment:
    """Cancel all members that have not ended; those that have keep their models."""
    get_experiment(services.engine, experiment_id)
    for member in list_members(services.engine, experiment_id):
        if member.state not in ENDED:
            with suppress(IllegalTransition):  # it has ended in this moment
                services.queue.apply_action(member.job_id, "cancel")
    return _view(services, experiment_id)


def _view(services: Services, experiment_id: str) -> Experiment:
    with services.engine.connect() as connection:
        row, members = find_experiment(connection, experiment_id), members_of(connection, experiment_id)
    return Experiment(**_experiment_fields(row, members), verdict=_verdict(services, row, members))


def _answer_in(connection: Connection, experiment_id: str) -> dict[str, Any]:
    """Return the answer to a submission as it is kept under its key, in the submission's own transaction."""
    row, members = find_experiment(connection, experiment_id), members_of(connection, experiment_id)
    verdict = Verdict(measured=None, holds=None, reason=NOT_ENDED) if row.recipe else None
    return Experiment(**_experiment_fields(row, members), verdict=verdict).model_dump(mode="json")


def _experiment_fields(row: ExperimentRow, members: list[MemberRow]) -> dict[str, Any]:
    flat = [flattened(member.spec) for member in members]
    fields_of_labels = differing_fields(flat)
    return _summary(row, dict(Counter(member.state for member in members))) | {
        "request": row.request,
        "members": [
            Member(
                job_id=member.job_id,
                state=member.state,
                seed=member.spec.seed,
                name=name,
                label={field: fields.get(field) for field in fields_of_labels},
                accuracy=member.evaluation.accuracy if member.evaluation else None,
            )
            for member, fields, name in zip(members, flat, short_names(flat), strict=True)
        ],
    }


def _summary(row: ExperimentRow, states: dict[JobState, int]) -> dict[str, Any]:
    base = f"/experiments/{row.id}"
    return {
        "id": row.id,
        "name": _name(row),
        "recipe": row.recipe,
        "states": states,
        "has_ended": set(states) <= ENDED,
        "created_at": datetime.fromtimestamp(row.created_at, UTC),
        "links": ExperimentLinks(
            self=base, events=f"{base}/events", comparison=f"{base}/comparison", cancel=f"{base}/cancel"
        ),
    }


def _name(row: ExperimentRow) -> str:
    if row.recipe is not None:
        recipe = RECIPES.get(row.recipe)
        return f"{row.recipe} {recipe.title.replace('_', ' ')}" if recipe else row.recipe
    request = row.request
    schemes = request.get("schemes") or [request.get("base", {}).get("init", {})]
    names = [one if isinstance(one, str) else one.get("scheme", USUAL_SCHEME) for one in schemes]
    shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    seeds = len(request.get("seeds", [DEFAULT_SEED]))
    return f"{shown}; {seeds} seed{'' if seeds == 1 else 's'}"


NOT_ENDED = "Not all members have ended."


def _verdict(services: Services, row: ExperimentRow, members: list[MemberRow]) -> Verdict | None:
    if row.recipe is None:
        return None
    if any(member.state not in ENDED for member in members):
        return Verdict(measured=None, holds=None, reason=NOT_ENDED)
    lost = row.members - sum(member.evaluation is not None for member in members)
    recipe = RECIPES.get(row.recipe)
    if lost or recipe is None:
        reason = (
            f"{lost} members have no result: they failed, were cancelled or deleted." if lost else "No such recipe."
        )
        return Verdict(measured=None, holds=None, reason=reason)
    measured, holds, table = recipe.judge(outcomes_of(services.engine, row.id, members))
    return Verdict(measured=measured, holds=holds, reason=None, table=[list(line) for line in table])


def _csv(services: Services, experiment_id: str) -> str:
    members = list_members(services.engine, experiment_id)
    flat = [flattened(member.spec) for member in members]
    names = differing_fields(flat)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["job_id", "state", "seed", *names, "accuracy", "evaluated_on", "n", "mean_negative_log_likelihood"]
    )
    for member, fields in zip(members, flat, strict=True):
        found = member.evaluation
        judged = (
            [found.accuracy, found.evaluated_on, found.n, found.mean_negative_log_likelihood] if found else [""] * 4
        )
        row = [json.dumps(value) if isinstance(value, list) else value for value in map(fields.get, names)]
        writer.writerow([member.job_id, member.state, member.spec.seed, *row, *judged])
    return out.getvalue()
