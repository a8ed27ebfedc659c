"""What workers have logged of a job, as a text or as a stream."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from service.api.dependencies import ServicesDep, problem_responses
from service.api.event_hub import stream_response
from service.api.log_stream import LogStream, Place
from service.artifacts.layout import log_path
from service.errors import NotFound
from service.http.accept import prefers
from service.http.numbers import whole_number
from service.store.jobs import get_job

router = APIRouter(prefix="/jobs", tags=["jobs"])

MAX_TAIL = 100_000
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 4296\nevent: log\ndata: {"id": 4296, "attempt": 1, "lines": ["..."]}\n\n',
            },
        },
        "description": "Lines of text; the header X-Attempt has the number of the attempt. Or events of type `log`.",
    },
    204: {"description": "The job has ended, and there is no line, or none behind Last-Event-ID: do not reconnect."},
}


@router.get(
    "/{job_id}/logs",
    summary="Get or follow the log of a job",
    response_class=Response,
    responses={**RESPONSES, **problem_responses(404, 422, 503)},
)
def get_logs(
    services: ServicesDep,
    job_id: str,
    attempt: Annotated[int | None, Query(ge=1, le=2**20, description="Number; default: the last one.")] = None,
    tail: Annotated[int | None, Query(ge=1, le=MAX_TAIL, description="Only so many of the last lines.")] = None,
    accept: Annotated[str, Header(description="text/event-stream follows the log.")] = "",
    last_event_id: Annotated[str, Header(description="Sent by a reconnecting stream.", max_length=20)] = "",
) -> Response:
    """Get the last 256 KiB that the worker has logged in an attempt, without lines about other jobs of its run.

    With `Accept: text/event-stream` the lines are followed as they come, also into later attempts, until the job has
    ended. While a job runs its log is two seconds old; if more than eight jobs share its run, it is there when the run
    ends.
    """
    job = get_job(services.engine, job_id)
    if prefers(accept, "text/event-stream", over="text/plain"):
        resumed = whole_number(last_event_id, max_digits=20)
        place = Place.of(resumed) if resumed else Place(attempt or max(job.attempt, 1))
        look = LogStream(services.hub, services.artifacts, job, place)
        if job.ended and job.attempt <= place.attempt and not look.next_lines():
            return Response(status_code=204)
        services.hub.require_room()
        # A stream that goes on has sent its tail before.
        following = LogStream(services.hub, services.artifacts, job, place).events(None if resumed else tail)
        return stream_response(following)
    wanted = job.attempt if attempt is None else attempt
    found = services.artifacts.read_log(log_path(job.id, wanted)) if wanted else None
    if found is None or found.content is None:
        raise NotFound(
            f"There is no log of attempt {wanted} of {job_id}; it has had {job.attempt} attempts.",
            "GET /jobs/{id}/events says which workers had it; their own logs are in FANIN_HOME/logs.",
        )
    lines = found.content.splitlines(keepends=True)
    text = b"".join(lines if tail is None else lines[-tail:])
    return Response(text, media_type="text/plain; charset=utf-8", headers={"X-Attempt": str(wanted)})
