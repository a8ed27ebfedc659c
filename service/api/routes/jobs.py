"""Jobs: submit, get, list and delete them; their metrics, diagnostics and checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from sqlalchemy import Connection

from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics
from models.spec import TrainSpec, resolve_spec
from service.api.dependencies import (
    MAX_OF_JOB,
    MAX_PAGE,
    After,
    AfterNumber,
    IdempotencyKey,
    LabelTexts,
    Limit,
    LimitOfJob,
    LimitOfLarge,
    SchemeName,
    Services,
    ServicesDep,
    SpecObject,
    States,
    job_filter,
    problem_responses,
    unquoted,
)
from service.api.job_files import delete_files
from service.api.job_views import job_view, job_views
from service.api.pagination import page
from service.api.preconditions import set_etag
from service.api.schemas.jobs import Deleted, Job, JobWithMetrics, Validation, job_fields, validation_view
from service.api.schemas.models import Checkpoint, checkpoint_view
from service.api.schemas.submissions import JobOfPreset, JobOfSpec, submission_in
from service.http.answers import JsonResponse, Page
from service.http.problems import invalid_body
from service.queue.submission import Once
from service.store.checkpoints import list_checkpoints
from service.store.job_lists import NEWEST_FIRST, Sort, cursor_of, list_jobs
from service.store.job_transitions import delete_job as delete_rows
from service.store.jobs import (
    PRIORITIES,
    DeviceChoice,
    JobRequest,
    NewJob,
    Priority,
    find_job,
    get_job,
    job_diagnostics,
    job_metrics,
    job_pretraining,
)
from service.store.outcomes import outcome_in
from service.store.queue_estimates import capacity, places, queued_before

router = APIRouter(prefix="/jobs", tags=["jobs"])

MAX_WAIT_S = 60
_SUBMIT_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [{"$ref": "#/components/schemas/JobOfPreset"}, {"$ref": "#/components/schemas/JobOfSpec"}]
            },
            "examples": {
                "preset": {"summary": "The course's first notebook", "value": {"preset": "mnist_nn_xavier"}},
                "overrides": {
                    "summary": "The deep network with He's initialization, fewer epochs",
                    "value": {"preset": "mnist_nn_deep", "init": {"scheme": "he_normal"}, "epochs": 3, "seed": 1},
                },
                "whole": {
                    "summary": "Zeros cannot learn",
                    "value": {
                        "architecture": {"hidden": [64, 64], "activation": "relu"},
                        "init": {"scheme": "zeros"},
                        "optimizer": {"name": "sgd", "lr": 0.1},
                        "epochs": 2,
                    },
                },
            },
        }
    },
}
BODY_MODELS = (JobOfPreset, JobOfSpec, TrainSpec)
"""Models of request bodies; the application adds their schemas to the OpenAPI document."""


Prefer = Annotated[
    str, Header(description=f"`wait=N` delays the response until the job has ended, at most N s and {MAX_WAIT_S} s.")
]


@router.post(
    "",
    summary="Train a model",
    status_code=201,
    response_model=Job,
    openapi_extra={"requestBody": _SUBMIT_BODY},
    responses={
        200: {"model": Validation, "description": "With validate_only: nothing is queued."},
        **problem_responses(400, 413, 415, 422, 503),
    },
)
async def submit_job(
    services: ServicesDep,
    body: SpecObject,
    response: Response,
    priority: Annotated[
        Priority, Query(description="Higher-priority jobs start first; jobs of equal priority in submission order.")
    ] = "normal",
    validate_only: Annotated[bool, Query(description="Return the resolved spec and estimates; queue nothing.")] = False,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = "",
) -> Any:
    """Queue a training job from a preset, a preset with overridden fields, or a complete TrainSpec.

    `name`, `note` and `labels` describe the job; `device` says what may train it. An override of `init`, `optimizer` or
    `architecture` replaces that whole part. The response contains the complete resolved spec. The job and its queue
    entry are committed before the response is sent.
    """
    of_spec, beside = submission_in(body)
    spec = _resolved(of_spec)
    if validate_only:
        validation = await run_in_threadpool(_validated, services, spec, priority, beside.device)
        return JsonResponse(validation.model_dump(mode="json"))
    request = JobRequest(spec, of_spec.get("preset"), priority, beside.described, device=beside.device)
    once = None
    if idempotency_key is not None:
        once = Once(unquoted(idempotency_key), _fingerprint(request), partial(_answer_in, services))
    submitted = await run_in_threadpool(services.queue.submit, request, once)
    job_id = submitted.answer["id"] if submitted.answer else cast("NewJob", submitted.new).job_id
    headers = {"Location": f"/jobs/{job_id}"} | ({} if submitted.new else {"Idempotency-Replayed": "true"})
    wait_s = _wait_s(prefer)
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
        await services.hub.wait_for_end(job_id, wait_s)
    elif submitted.answer is not None:
        return JsonResponse(submitted.answer, status_code=201, headers=headers)
    response.headers.update(headers)
    return await run_in_threadpool(lambda: job_view(services, get_job(services.engine, job_id)))


def _fingerprint(request: JobRequest) -> str:
    """Return the hash of what makes a submission the same as another."""
    spec = request.spec.model_dump(mode="json")
    if request.spec.architecture.inputs == "zero_to_one":  # keys of before this field keep their fingerprints
        del spec["architecture"]["inputs"]
    parts: list[Any] = [spec, request.preset, request.priority]
    described = request.description.model_dump(mode="json", exclude_defaults=True)
    if described:
        parts.append(json.dumps(described, sort_keys=True))
    if request.device != "any":  # as for inputs
        parts.append(request.device)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _resolved(body: dict[str, Any]) -> TrainSpec:
    try:
        return resolve_spec(body)
    except ValidationError as error:
        raise invalid_body(error, body) from None


def _validated(services: Services, spec: TrainSpec, priority: Priority, device: DeviceChoice) -> Validation:
    with services.engine.connect() as connection:
        services.queue.check_costs(connection, [spec])
        jobs_before, work_before = queued_before(connection, PRIORITIES[priority])
        can = capacity(connection, services.worker_ttl_s, device)
    wait_s = can.wait_s(work_before, jobs_before)
    return validation_view(
        spec, jobs_before + 1, None if wait_s is None else can.instant + wait_s, can.duration_s(spec.work)
    )


def _answer_in(services: Services, connection: Connection, job_id: str) -> dict[str, Any]:
    """Return the response that is stored under the idempotency key, read in the submission's transaction."""
    row = find_job(connection, job_id)
    place = places(connection, [job_id], services.worker_ttl_s).get(job_id)
    return Job(**job_fields(row, place)).model_dump(mode="json")


def _wait_s(prefer: str) -> int | None:
    """Return the seconds of the preference `wait` (RFC 7240), at most `MAX_WAIT_S`; None if absent or malformed."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?:$|[,;])", prefer, re.IGNORECASE)
    return min(int(match[1]), MAX_WAIT_S) if match else None


@router.get("", summary="List jobs", responses=problem_responses(404, 422))
def get_jobs(
    services: ServicesDep,
    request: Request,
    response: Response,
    state: States = None,
    scheme: SchemeName = None,
    label: LabelTexts = None,
    sort: Annotated[
        Sort, Query(description="The order; - is descending. Jobs without a value come last.")
    ] = NEWEST_FIRST,
    after: After = None,
    limit: Limit = 20,
) -> Page[Job]:
    """List jobs, newest first unless `sort` says otherwise. Pages go by the cursor in the Link header."""
    wanted = job_filter(state, scheme, label)
    rows = list_jobs(services.engine, wanted, sort=sort, after=after, limit=limit + 1)
    last = cursor_of(rows[:limit][-1], sort) if rows else None
    return page(request, response, job_views(services, rows), limit, last)


@router.get("/{job_id}", summary="Get a job", responses=problem_responses(404))
def get_one_job(services: ServicesDep, job_id: str, response: Response) -> JobWithMetrics:
    """Get a job: state, place in the queue, progress, metrics so far, what came of it, attempt, device, data, links."""
    view = job_view(services, get_job(services.engine, job_id))
    pretraining = job_pretraining(services.engine, job_id)
    with services.engine.connect() as connection:
        outcome = outcome_in(connection, job_id) if view.state in ("succeeded", "failed") else None
    metrics = job_metrics(services.engine, job_id)
    set_etag(response, view.version)
    return JobWithMetrics(**dict(view), metrics=metrics, pretraining=pretraining, outcome=outcome)


@router.delete("/{job_id}", summary="Delete a job", responses=problem_responses(404, 409))
def delete_job(services: ServicesDep, job_id: str) -> Deleted:
    """Delete a job with its model, checkpoints, metrics and events; not while a worker has it or an alias names it."""
    if delete_rows(services.engine, job_id):
        delete_files(services.artifacts, [job_id])
    return Deleted(id=job_id)


@router.get("/{job_id}/metrics", summary="List the metrics of a job", responses=problem_responses(404))
def get_metrics(
    services: ServicesDep,
    request: Request,
    response: Response,
    job_id: str,
    after: AfterNumber = None,
    limit: LimitOfJob = MAX_OF_JOB,
) -> Page[EpochMetrics]:
    """List the metrics of every committed epoch: losses, training accuracy, seconds, images per second."""
    get_job(services.engine, job_id)
    found = job_metrics(services.engine, job_id, after, limit + 1)
    return page(request, response, found, limit, found[:limit][-1].epoch if found else None)


@router.get("/{job_id}/diagnostics", summary="List the layer diagnostics of a job", responses=problem_responses(404))
def get_diagnostics(
    services: ServicesDep,
    request: Request,
    response: Response,
    job_id: str,
    after: AfterNumber = None,
    limit: LimitOfLarge = MAX_PAGE,
) -> Page[Diagnostics]:
    """List each layer's statistics at the start and after every committed epoch, with a verdict per record.

    They are measured on the first 512 training images. The record of the start also has what theory predicts. The list
    is empty if the spec has `"diagnostics": false`. Pages go by epoch; a record of a deep network has 50 kB.
    """
    get_job(services.engine, job_id)
    found = job_diagnostics(services.engine, job_id, after, limit + 1)
    return page(request, response, found, limit, found[:limit][-1].epoch if found else None)


@router.get("/{job_id}/checkpoints", summary="List the checkpoints of a job", responses=problem_responses(404))
def get_checkpoints(
    services: ServicesDep,
    request: Request,
    response: Response,
    job_id: str,
    after: AfterNumber = None,
    limit: LimitOfJob = MAX_OF_JOB,
) -> Page[Checkpoint]:
    """List the checkpoints of a job, oldest first; those of the phase train can predict, as JOB@EPOCH.

    Pages go by `seq`.
    """
    get_job(services.engine, job_id)
    rows = list_checkpoints(services.engine, job_id, after=after, limit=limit + 1)
    return page(
        request, response, [checkpoint_view(row) for row in rows], limit, rows[:limit][-1].seq if rows else None
    )
