"""Metrics in the text format of Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.dependencies import ServicesDep, problem_responses
from service.api.service_measures import database_measures

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The text format 0.0.4."},
        **problem_responses(503),
    },
)
def get_metrics_text(services: ServicesDep) -> Response:
    """Get what this machine's API processes have measured, and what the database says of all machines."""
    of_service = database_measures(services.engine, services.worker_ttl_s)
    return Response(services.measures.as_text() + of_service, media_type=CONTENT_TYPE_LATEST)
