"""Jobs as they are shown, with their places in the queue, which are looked up for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

from service.api.dependencies import Services
from service.api.schemas.jobs import Job, job_fields
from service.store.jobs import JobRow
from service.store.queue_estimates import places


def job_view(services: Services, row: JobRow) -> Job:
    """Return a job as it is shown."""
    return job_views(services, [row])[0]


def job_views(services: Services, rows: Sequence[JobRow]) -> list[Job]:
    """Return jobs as they are shown."""
    queued = [row.id for row in rows if row.state == "queued"]
    found = {}
    if queued:
        with services.engine.connect() as connection:
            found = places(connection, queued, services.worker_ttl_s)
    return [Job(**job_fields(row, found.get(row.id))) for row in rows]
