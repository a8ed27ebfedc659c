"""Jobs: submit, look at, cancel."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from models.init import SCHEMES
from models.results import EpochMetrics
from models.spec import PresetSpec, TrainSpec, resolve_spec
from service.api.paging import page
from service.deps import After, GetParts, JsonObject, Limit, Parts, problems
from service.errors import NotFound
from service.schemas import Checkpoint, Event, Job, JobWithMetrics, Page, checkpoint_view, event_view, job_fields
from service.store.checkpoints import list_checkpoints
from service.store.events import EventRow, events_after
from service.store.jobs import JobRow, JobState, cancel_job, get_job, job_metrics, list_jobs, queue_position

router = APIRouter(prefix="/jobs", tags=["jobs"])

RETRY_MS = 2000
LARGEST_EVENT_ID = 2**53
_SUBMIT_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [{"$ref": "#/components/schemas/PresetSpec"}, {"$ref": "#/components/schemas/TrainSpec"}]
            },
            "examples": {
                "preset": {"summary": "The course's first notebook", "value": {"preset": "mnist_nn_xavier"}},
                "overrides": {
                    "summary": "The deep one with He's initialization, shorter",
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
BODY_MODELS = (PresetSpec, TrainSpec)
"""Models that request bodies refer to; the application adds them to the OpenAPI document."""


def _view(parts: Parts, row: JobRow) -> Job:
    return Job(**job_fields(row, queue_position(parts.engine, row)))


@router.post(
    "",
    summary="Train a model",
    status_code=201,
    openapi_extra={"requestBody": _SUBMIT_BODY},
    responses=problems(400, 413, 415, 422, 503),
)
def submit_job(parts: GetParts, body: JsonObject, response: Response) -> Job:
    """Train a model: queue a job from a preset, a preset with any field overridden, or a whole TrainSpec.

    An override of `init`, `optimizer` or `architecture` replaces that whole part. The answer holds the whole
    resolved spec; the job and its queue entry are committed before it is sent.
    """
    try:
        spec = resolve_spec(body)
    except ValidationError as error:
        wrong = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        raise RequestValidationError(wrong, body=body) from None
    new = parts.queue.submit(spec, body.get("preset"))
    response.headers["Location"] = f"/jobs/{new.job_id}"
    return _view(parts, get_job(parts.engine, new.job_id))


@router.get("", summary="List jobs", responses=problems(422))
def get_jobs(
    parts: GetParts,
    request: Request,
    response: Response,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in this state; may be repeated.")] = None,
    scheme: Annotated[str | None, Query(description="Only jobs with this initialization scheme.")] = None,
    after: After = None,
    limit: Limit = 20,
) -> Page[Job]:
    """List jobs, newest first."""
    if scheme is not None and scheme not in SCHEMES:
        raise NotFound(f"There is no scheme {scheme!r}.", "GET /init-schemes lists the schemes.")
    rows = list_jobs(parts.engine, states=state or [], scheme=scheme, after=after, limit=limit + 1)
    views = [_view(parts, row) for row in rows]
    return page(request, response, views, limit, views[:limit][-1].id if views else None)


@router.get("/{job_id}", summary="Look at a job", responses=problems(404))
def get_one_job(parts: GetParts, job_id: str) -> JobWithMetrics:
    """Look at a job: state, progress, metrics so far, attempt, device, data source, links."""
    row = get_job(parts.engine, job_id)
    fields = job_fields(row, queue_position(parts.engine, row))
    return JobWithMetrics(**fields, metrics=job_metrics(parts.engine, job_id))


@router.get("/{job_id}/metrics", summary="List the metrics of a job", responses=problems(404))
def get_metrics(parts: GetParts, job_id: str) -> Page[EpochMetrics]:
    """List the metrics of every committed epoch: losses, training accuracy, seconds, images a second."""
    get_job(parts.engine, job_id)
    return Page[EpochMetrics](data=job_metrics(parts.engine, job_id), has_more=False)


@router.get("/{job_id}/checkpoints", summary="List the checkpoints of a job", responses=problems(404))
def get_checkpoints(parts: GetParts, job_id: str) -> Page[Checkpoint]:
    """List the checkpoints of a job, oldest first; each can be predicted with as JOB@EPOCH."""
    get_job(parts.engine, job_id)
    views = [checkpoint_view(row) for row in list_checkpoints(parts.engine, job_id)]
    return Page[Checkpoint](data=views, has_more=False)


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problems(404, 409))
def cancel(parts: GetParts, job_id: str) -> Job:
    """Cancel a job: at once if it waits, within a second if it runs. Cancelling it again changes nothing."""
    return _view(parts, cancel_job(parts.engine, job_id))


_EVENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events as a list, or as a stream of server-sent events.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 7\nevent: job.epoch\ndata: {"id": 7, "type": "job.epoch", ...}\n\n',
            }
        },
    },
    204: {"description": "The job has ended and there is nothing after Last-Event-ID: do not reconnect."},
}


@router.get(
    "/{job_id}/events",
    summary="List or follow the events of a job",
    response_model=Page[Event],
    responses={**_EVENT_RESPONSES, **problems(404, 422)},
)
def get_events(
    parts: GetParts,
    request: Request,
    response: Response,
    job_id: str,
    limit: Limit = 20,
    after: Annotated[int, Query(ge=0, le=LARGEST_EVENT_ID, description="Start after this event id.")] = 0,
    accept: Annotated[str, Header(description="text/event-stream for a stream.")] = "",
    last_event_id: Annotated[str, Header(description="As a reconnecting stream sends it.", max_length=20)] = "",
) -> Any:
    """List what happened to a job, or follow it as server-sent events (`Accept: text/event-stream`).

    Events: job.queued, job.running (attempt, device, data), job.epoch (its metrics), job.checkpoint,
    job.checkpoint_damaged, job.cancelling, job.cancelled, job.succeeded, job.failed (the reason).
    """
    job = get_job(parts.engine, job_id)
    if last_event_id.isascii() and last_event_id.isdigit():
        after = min(int(last_event_id), LARGEST_EVENT_ID)
    if "text/event-stream" not in accept:
        rows = events_after(parts.engine, after, job_id=job_id, limit=limit + 1)
        views = [event_view(row) for row in rows]
        return page(request, response, views, limit, views[:limit][-1].id if views else None)
    if job.ended and not events_after(parts.engine, after, job_id=job_id, limit=1):
        return Response(status_code=204)
    first = True

    def render(row: EventRow) -> str:
        nonlocal first
        retry, first = (f"retry: {RETRY_MS}\n" if first else ""), False
        return f"{retry}id: {row.id}\nevent: {row.type}\ndata: {event_view(row).model_dump_json()}\n\n"

    # A heartbeat is a comment without the blank line that would make some clients see an empty event.
    stream = parts.hub.stream(job_id, after, render, heartbeat=": hb\n")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
