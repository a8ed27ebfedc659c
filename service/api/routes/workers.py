"""Workers: their devices, whether they are alive, and what they train."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import ServicesDep, problem_responses
from service.api.schemas.workers import WorkerView, worker_view
from service.http.answers import Page
from service.store.workers import list_workers

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("", summary="List the workers", responses=problem_responses())
def get_workers(services: ServicesDep) -> Page[WorkerView]:
    """List the workers of all machines; `is_live` is true after a recent heartbeat."""
    views = [worker_view(row, services.worker_ttl_s) for row in list_workers(services.engine)]
    return Page[WorkerView](data=views, has_more=False)
