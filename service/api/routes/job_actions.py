"""Actions on a job: cancel, pause, resume, retry."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import ServicesDep, problem_responses
from service.api.job_views import job_view
from service.api.schemas.jobs import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problem_responses(404, 409))
def cancel(services: ServicesDep, job_id: str) -> Job:
    """Cancel a job: immediately if it is queued or paused, within a second if it is running. Idempotent.

    Its checkpoints stay. The event job.released reports that the worker has freed the device.
    """
    return job_view(services, services.queue.apply_action(job_id, "cancel"))


@router.post("/{job_id}/pause", summary="Pause a job", responses=problem_responses(404, 409))
def pause(services: ServicesDep, job_id: str) -> Job:
    """Pause a job: immediately if it is queued, at the end of the epoch if it is running. Idempotent."""
    return job_view(services, services.queue.apply_action(job_id, "pause"))


@router.post("/{job_id}/resume", summary="Resume a paused job", responses=problem_responses(404, 409))
def resume(services: ServicesDep, job_id: str) -> Job:
    """Requeue a paused job; it continues from its last checkpoint, to the same weights bit for bit.

    A job that is still pausing goes on running. Idempotent.
    """
    return job_view(services, services.queue.apply_action(job_id, "resume"))


@router.post("/{job_id}/retry", summary="Retry a failed job", responses=problem_responses(404, 409))
def retry(services: ServicesDep, job_id: str) -> Job:
    """Requeue a failed job; a new attempt continues from its last checkpoint. Idempotent."""
    return job_view(services, services.queue.apply_action(job_id, "retry"))
