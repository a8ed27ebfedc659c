"""Events of one job, of several, or of all, as a list or as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from service.api.dependencies import Limit, Services, ServicesDep, problem_responses
from service.api.event_hub import stream_response
from service.api.pagination import page
from service.api.schemas.events import Event, event_view
from service.errors import NotFound
from service.http.accept import prefers
from service.http.answers import Page
from service.http.numbers import whole_number
from service.store.events import EventRow, events_after
from service.store.jobs import get_job, open_jobs, require_jobs

router = APIRouter(tags=["events"])

RETRY_MS = 2000
MAX_EVENT_ID = 2**53
MAX_JOBS = 100


@dataclass(frozen=True)
class Asked:
    """The parameters of a request for events."""

    request: Request
    response: Response
    limit: int
    after: int
    is_stream: bool


def _asked(
    request: Request,
    response: Response,
    limit: Limit = 20,
    after: Annotated[int, Query(ge=0, le=MAX_EVENT_ID, description="Start after this event id.")] = 0,
    accept: Annotated[str, Header(description="text/event-stream requests a stream.")] = "",
    last_event_id: Annotated[
        str, Header(description="Sent by a reconnecting stream; replaces `after`.", max_length=20)
    ] = "",
) -> Asked:
    resumed_after = whole_number(last_event_id, max_digits=20)
    if resumed_after is not None:
        after = min(resumed_after, MAX_EVENT_ID)
    return Asked(request, response, limit, after, prefers(accept, "text/event-stream", over="application/json"))


HowAsked = Annotated[Asked, Depends(_asked)]

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events, as a list or as a stream of server-sent events.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 7\nevent: job.epoch\ndata: {"id": 7, "type": "job.epoch", ...}\n\n',
            }
        },
    },
    204: {"description": "All jobs of the stream have ended, and no event follows Last-Event-ID: do not reconnect."},
}


@router.get(
    "/jobs/{job_id}/events",
    summary="List or stream the events of a job",
    response_model=Page[Event],
    responses={**RESPONSES, **problem_responses(404, 422, 503)},
)
def get_events(
    services: ServicesDep,
    asked: HowAsked,
    job_id: str,
) -> Any:
    """List the events of a job, or stream them as server-sent events (`Accept: text/event-stream`).

    Types: job.queued, job.running (attempt, worker, device, data, how the previous attempt ended), job.pretrain_epoch
    and job.epoch (their metrics), job.checkpoint, job.checkpoint_damaged, job.checkpoint_discarded (an epoch that the
    other jobs of the run had not reached when a worker died), job.pausing, job.paused, job.cancelling, job.cancelled,
    job.succeeded, job.failed (the reason), job.released (the device is free of a cancelled job).
    """
    get_job(services.engine, job_id)
    return events_answer(services, asked, [job_id])


@router.get(
    "/events",
    summary="List or stream the events of several jobs",
    response_model=Page[Event],
    responses={**RESPONSES, **problem_responses(404, 422, 503)},
)
def get_events_of_jobs(
    services: ServicesDep,
    asked: HowAsked,
    job: Annotated[
        str | None, Query(description=f"Ids of up to {MAX_JOBS} jobs, separated by commas; without it, all jobs.")
    ] = None,
) -> Any:
    """List or stream the events of several jobs, or of all; a browser allows only six connections to a server.

    A stream of named jobs ends when all of them have ended; a stream of all jobs does not end.
    """
    if job is None:
        return events_answer(services, asked, None)
    job_ids = sorted({job_id.strip() for job_id in job.split(",")})
    if len(job_ids) > MAX_JOBS:
        raise NotFound(f"`job` names more than {MAX_JOBS} jobs.", "Name fewer, or omit `job` to get all jobs.")
    require_jobs(services.engine, job_ids)
    return events_answer(services, asked, job_ids)


def _as_json(row: EventRow) -> str:
    return event_view(row).model_dump_json()


def events_answer(services: Services, asked: Asked, job_ids: Collection[str] | None) -> Any:
    """Return the response with the events of some jobs (None: all jobs), as the requested list or stream."""
    after, limit = asked.after, asked.limit
    if not asked.is_stream:
        rows = events_after(services.engine, after, job_ids=job_ids, limit=limit + 1)
        views = [event_view(row) for row in rows]
        return page(asked.request, asked.response, views, limit, views[:limit][-1].id if views else None)
    has_ended = job_ids is not None and not open_jobs(services.engine, job_ids)
    if has_ended and not events_after(services.engine, after, job_ids=job_ids, limit=1):
        return Response(status_code=204)
    services.hub.require_room()
    first = True

    def render(row: EventRow) -> str:
        nonlocal first
        retry, first = (f"retry: {RETRY_MS}\n" if first else ""), False
        return f"{retry}id: {row.id}\nevent: {row.type}\ndata: {services.hub.text_of(row, _as_json)}\n\n"

    return stream_response(services.hub.stream(job_ids, after, render))
