"""Health checks: liveness and readiness."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.exc import DBAPIError

from service.api.dependencies import ServicesDep, problem_responses
from service.errors import Unavailable
from service.http.answers import Answer
from service.store.engine import require_tables

router = APIRouter(tags=["health"])


class Health(Answer):
    """The result of a passed health check."""

    status: str = "ok"


@router.get("/healthz", summary="Check liveness", responses=problem_responses())
async def healthz() -> Health:
    """Report that the process is alive."""
    return Health()


@router.get("/readyz", summary="Check readiness", responses=problem_responses(503))
def readyz(services: ServicesDep) -> Health:
    """Report that the database can be reached and has its tables; otherwise 503."""
    try:
        require_tables(services.engine)
    except DBAPIError as error:
        raise Unavailable(f"The database cannot be reached: {error.orig}.") from error
    return Health()
