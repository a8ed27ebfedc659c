"""What workers have logged of a job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.dependencies import ServicesDep, problem_responses
from service.artifacts.layout import log_path
from service.errors import NotFound
from service.store.jobs import get_job

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/logs",
    summary="Get the log of a job",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "Lines of text; the header X-Attempt has the number of the attempt.",
        },
        **problem_responses(404, 422),
    },
)
def get_logs(
    services: ServicesDep,
    job_id: str,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Number; default: the last one.")] = None,
) -> Response:
    """Get the last 256 KiB that the worker has logged in an attempt, without lines about other jobs of its run.

    While a job runs its log is two seconds old; if more than eight jobs share its run, it is there when the run ends.
    """
    job = get_job(services.engine, job_id)
    wanted = job.attempt if attempt is None else attempt
    content = services.artifacts.read_log(log_path(job.id, wanted)) if wanted else None
    if content is None:
        raise NotFound(
            f"There is no log of attempt {wanted} of {job_id}; it has had {job.attempt} attempts.",
            "GET /jobs/{id}/events says which workers had it; their own logs are in FANIN_HOME/logs.",
        )
    return Response(content, media_type="text/plain; charset=utf-8", headers={"X-Attempt": str(wanted)})
