"""What the owner of a job may ask of it while it is on its way: cancel, pause, resume, retry."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import GetParts, problems
from service.api.job_views import job_view
from service.api.schemas import Job

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problems(404, 409))
def cancel(parts: GetParts, job_id: str) -> Job:
    """Cancel a job: at once if it waits, within a second if it runs. Cancelling it again changes nothing.

    Its checkpoints stay. When its worker has freed the device, the event job.released says so.
    """
    return job_view(parts, parts.queue.ask(job_id, "cancel"))


@router.post("/{job_id}/pause", summary="Pause a job", responses=problems(404, 409))
def pause(parts: GetParts, job_id: str) -> Job:
    """Pause a job: at once if it waits, at the end of the epoch if it runs. Pausing it again changes nothing."""
    return job_view(parts, parts.queue.ask(job_id, "pause"))


@router.post("/{job_id}/resume", summary="Resume a paused job", responses=problems(404, 409))
def resume(parts: GetParts, job_id: str) -> Job:
    """Put a paused job back into the queue; it goes on from its last checkpoint, to the same weights bit for bit."""
    return job_view(parts, parts.queue.ask(job_id, "resume"))


@router.post("/{job_id}/retry", summary="Retry a failed job", responses=problems(404, 409))
def retry(parts: GetParts, job_id: str) -> Job:
    """Put a failed job back into the queue; it goes on from its last checkpoint in a new attempt."""
    return job_view(parts, parts.queue.ask(job_id, "retry"))
