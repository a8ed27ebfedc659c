"""The composition root: creates the services of the API and the application."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from sqlalchemy import Engine
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from models.diagnostics.phase import PhaseRequest
from service.api.dependencies import Services
from service.api.event_hub import EventHub
from service.api.openapi_document import document_of
from service.api.preview_process import Previews
from service.api.readiness import ReadinessChecks
from service.api.routes import (
    aliases,
    classify,
    datasets,
    edits,
    events,
    experiments,
    generator,
    health,
    inside,
    jobs,
    metrics,
    mistakes,
    models,
    oip,
    predict,
    schemes,
    theory,
    weights,
    workers,
)
from service.api.routes import job_actions as job_actions
from service.api.routes import job_logs as job_logs
from service.api.routes import web_page as page
from service.artifacts.opening import open_artifacts
from service.http import problems
from service.http.access import Access
from service.http.answers import JsonResponse
from service.http.guard import Guard
from service.http.known_query import refuse_unknown_query
from service.http.measures import DATABASE, SHARING_INTERVAL_S, SharedMeasures
from service.http.middleware import AnswerHead, InvalidateModelCache
from service.inference import oip as oip_protocol
from service.inference.batching import MicroBatcher
from service.inference.fast_path import PredictFastPath
from service.inference.model_resolver import ModelResolver
from service.inference.predictor_cache import Predictors
from service.processes.hardware import usable_cores
from service.queue.admission import JobLimits
from service.queue.submission import Queue
from service.settings import Settings
from service.store.engine import open_engine, time_statements

log = logging.getLogger(__name__)

DESCRIPTION = """Train MNIST digit classifiers with a chosen weight-initialization scheme on a worker queue, keep
every checkpoint, and predict digits with any of them.

Errors are RFC 9457 problem documents. If the service has a key, send `Authorization: Bearer <key>`."""
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
BODY_MODELS = (
    aliases.AliasBody,
    *jobs.BODY_MODELS,
    *edits.BODY_MODELS,
    *experiments.BODY_MODELS,
    schemes.PreviewBody,
    PhaseRequest,
    oip_protocol.InferenceRequest,
    classify.ClassifyBody,
    predict.PixelsBody,
    problems.Problem,
)
ROUTERS = (
    jobs.router,
    job_actions.router,
    job_logs.router,
    edits.router,
    events.router,
    experiments.router,
    models.router,
    weights.router,
    mistakes.router,
    generator.router,
    inside.router,
    aliases.router,
    predict.router,
    classify.router,
    oip.router,
    datasets.router,
    schemes.router,
    theory.router,
    workers.router,
    health.router,
    metrics.router,
)


def create_app(settings: Settings) -> FastAPI:
    """Return the API; its services open the database, files and data of `settings` at startup."""
    app: FastAPI = FastAPIOffline(
        title="Fanin",
        version=version("fanin"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redoc_url=None,
        default_response_class=JsonResponse,
        static_url="/static-docs",
        lifespan=_lifespan_of(settings),
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(refuse_unknown_query)],
    )
    for router in ROUTERS:
        app.include_router(router)
    page.install(app)
    problems.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_middleware(InvalidateModelCache, forget=lambda: app.state.services.answering.invalidate())
    app.add_middleware(AnswerHead)
    return app


def create_application(settings: Settings) -> ASGIApp:
    """Return the ASGI application of a server: a guard, and behind it the fast path of predictions and the API."""
    app = create_app(settings)
    return guarded(PredictFastPath(app, lambda: app.state.services.answering), settings)


def guarded(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Return an application behind the guard, with the key and the limits of `settings`."""
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    hosts = settings.allowed_hosts if settings.host in EVERY_ADDRESS else (*settings.allowed_hosts, settings.host)
    access = Access(key, hosts, settings.cors_origins)
    guard = Guard(app, access, settings.max_body_bytes, logs_access=settings.access_log)
    if not settings.cors_origins:
        return guard
    return CORSMiddleware(
        guard,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=["ETag", "Link", "Location", "Retry-After", "X-Model", "X-Request-Id", "X-Warnings"],
    )


def _lifespan_of(settings: Settings) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = open_engine(settings.sqlalchemy_url)
        time_statements(engine, DATABASE.of().note)
        artifacts = open_artifacts(settings.artifacts_place)
        hub = EventHub(engine, settings.max_streams)
        previews = Previews(settings.data_dir)
        predictors = Predictors(artifacts, settings.predictor_cache_bytes)
        answering = MicroBatcher(ModelResolver(engine, predictors), usable_cores())
        measures = SharedMeasures(settings.home / "metrics" if settings.api_processes > 1 else None)
        app.state.services = Services(
            engine=engine,
            queue=_queue(engine, settings),
            answering=answering,
            hub=hub,
            artifacts=artifacts,
            previews=previews,
            readiness=ReadinessChecks(engine, artifacts, settings.data_dir, settings.worker_ttl_s, settings.build),
            data_dir=settings.data_dir,
            worker_ttl_s=settings.worker_ttl_s,
            measures=measures,
        )
        tasks = [asyncio.create_task(hub.run())]
        if settings.api_processes > 1:
            tasks.append(asyncio.create_task(_share(measures)))
        # Objects created so far live until exit; scanning them in each full collection would delay requests by 40 ms.
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            await previews.end()
            answering.close()
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            engine.dispose()

    return lifespan


async def _share(measures: SharedMeasures) -> None:
    while True:
        try:
            await asyncio.to_thread(measures.share)
        except OSError as error:  # the numbers of this process are then missing in the answers of the others
            log.warning("the metrics of this process cannot be shared: %s", error)
        await asyncio.sleep(SHARING_INTERVAL_S)


def _queue(engine: Engine, settings: Settings) -> Queue:
    limits = JobLimits(settings.max_job_bytes, settings.max_job_seconds, settings.max_checkpoint_bytes)
    return Queue(engine, settings.max_queued, settings.worker_ttl_s, settings.jobs_per_run, limits)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the cached OpenAPI document."""
    if app.openapi_schema is None:
        app.openapi_schema = document_of(app, BODY_MODELS)
    return app.openapi_schema
