"""Health checks: liveness and readiness."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import ServicesDep, problem_responses
from service.api.readiness import Readiness
from service.http.answers import Answer

router = APIRouter(tags=["health"])


class Health(Answer):
    """The result of a passed health check."""

    status: str = "ok"


@router.get("/healthz", summary="Check liveness", responses=problem_responses())
async def healthz() -> Health:
    """Report that the process is alive."""
    return Health()


@router.get("/readyz", summary="Check readiness", responses=problem_responses(503))
def readyz(services: ServicesDep) -> Readiness:
    """Report the state of database, checkpoints, disk, data and workers; 503 with the cause if one does not work."""
    return services.readiness.check()
