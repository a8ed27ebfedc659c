"""Response models of jobs, with their places in the queue, which one query finds for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from service.api.dependencies import Services
from service.api.schemas.jobs import Job, job_fields
from service.store.jobs import JobRow
from service.store.queue_estimates import places


def job_view(services: Services, row: JobRow) -> Job:
    """Return the response model of a job."""
    return job_views(services, [row])[0]


def job_views(services: Services, rows: Sequence[JobRow]) -> list[Job]:
    """Return the response models of jobs, in their order."""
    queued = [row.id for row in rows if row.state == "queued"]
    place_of = {}
    if queued:
        with services.engine.connect() as connection:
            place_of = places(connection, queued, services.worker_ttl_s)
    return [Job(**job_fields(row, place_of.get(row.id))) for row in rows]
