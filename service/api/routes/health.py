"""Health: whether the process is alive, and whether it can work."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.exc import DBAPIError

from service.api.dependencies import ServicesDep, problem_responses
from service.errors import Unavailable
from service.http.answers import Answer
from service.store.engine import require_tables

router = APIRouter(tags=["health"])


class Health(Answer):
    """A process that answers."""

    status: str = "ok"


@router.get("/healthz", summary="Say that the process is alive", responses=problem_responses())
async def healthz() -> Health:
    """Say that the process is alive."""
    return Health()


@router.get("/readyz", summary="Say that the service can work", responses=problem_responses(503))
def readyz(services: ServicesDep) -> Health:
    """Say that the database can be reached and has its tables."""
    try:
        require_tables(services.engine)
    except DBAPIError as error:
        raise Unavailable(f"The database cannot be reached: {error.orig}.") from error
    return Health()
