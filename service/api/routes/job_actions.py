"""What the owner of a job may ask of it while it is on its way: cancel, pause, resume, retry."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import ServicesDep, problem_responses
from service.api.job_views import job_view
from service.api.schemas.jobs import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problem_responses(404, 409))
def cancel(services: ServicesDep, job_id: str) -> Job:
    """Cancel a job: at once if it waits, within a second if it runs. Cancelling it again changes nothing.

    Its checkpoints stay. When its worker has freed the device, the event job.released says so.
    """
    return job_view(services, services.queue.apply_action(job_id, "cancel"))


@router.post("/{job_id}/pause", summary="Pause a job", responses=problem_responses(404, 409))
def pause(services: ServicesDep, job_id: str) -> Job:
    """Pause a job: at once if it waits, at the end of the epoch if it runs. Pausing it again changes nothing."""
    return job_view(services, services.queue.apply_action(job_id, "pause"))


@router.post("/{job_id}/resume", summary="Resume a paused job", responses=problem_responses(404, 409))
def resume(services: ServicesDep, job_id: str) -> Job:
    """Put a paused job back into the queue; it goes on from its last checkpoint, to the same weights bit for bit."""
    return job_view(services, services.queue.apply_action(job_id, "resume"))


@router.post("/{job_id}/retry", summary="Retry a failed job", responses=problem_responses(404, 409))
def retry(services: ServicesDep, job_id: str) -> Job:
    """Put a failed job back into the queue; it goes on from its last checkpoint in a new attempt."""
    return job_view(services, services.queue.apply_action(job_id, "retry"))
