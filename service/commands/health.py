"""`fanin health`: whether the processes of this machine work, for the health check of a container.

A worker that waits for the database or for its files works: a restart would cost it its progress and change nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import httpx
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from service.errors import DatabaseNotReady
from service.settings import Settings
from service.store.engine import open_engine
from service.store.outages import OUT_OF_REACH, cause_of
from service.store.workers import list_workers

Role = Literal["api", "worker"]
ANSWER_LIMIT_S = 10.0
CONNECT_LIMIT_S = 3
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


class Health(NamedTuple):
    """Whether a role works on this machine, and why."""

    is_well: bool
    text: str


def health_of(role: Role, settings: Settings) -> Health:
    """Return the health of the API, or of the workers, of this machine with these settings."""
    return _api(settings) if role == "api" else _workers(settings)


def _api(settings: Settings) -> Health:
    host = EVERY_ADDRESS.get(settings.host, settings.host)
    address = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    try:
        answer = httpx.get(f"{address}/readyz", timeout=ANSWER_LIMIT_S, trust_env=False)  # no proxy is between
    except httpx.HTTPError as error:
        return Health(False, f"The API does not answer: {error}.")
    if answer.status_code == httpx.codes.OK:
        return Health(True, "The API is ready.")
    return Health(False, f"The API answers {answer.status_code}: {answer.text}")


def _workers(settings: Settings) -> Health:
    """Compare the workers that have a lock in `FANIN_HOME/slots` with the heartbeats in the database."""
    instances = {
        file.stem: file.read_text()
        for file in sorted((settings.home / "slots").glob("*.instance"))
        if _is_held(file.with_suffix(".lock"))
    }
    if not instances and any(_is_held(lock) for lock in (settings.home / "slots").glob("*.starting")):
        return Health(True, "A worker waits for its database or its files.")
    if not instances:
        return Health(False, "No worker process of this machine is alive.")
    engine = open_engine(settings.sqlalchemy_url, CONNECT_LIMIT_S)
    try:
        live = {row.instance for row in list_workers(engine) if row.is_live(settings.worker_ttl_s)}
    except SQLAlchemyError as error:
        cause = cause_of(error)
        if isinstance(cause, DatabaseNotReady) or not isinstance(error, OUT_OF_REACH):
            return Health(False, cause.detail)
        return Health(True, "The database is away; the workers wait for it.")
    finally:
        engine.dispose()
    silent = [name for name, instance in instances.items() if instance not in live]
    if silent:
        return Health(False, f"No heartbeat of {', '.join(silent)} for {settings.worker_ttl_s:g} s.")
    return Health(True, f"{len(instances)} workers are alive.")


def _is_held(lock: Path) -> bool:
    """Return whether a living process has a lock."""
    attempt = FileLock(lock)
    try:
        attempt.acquire(timeout=0)
    except Timeout:
        return True
    attempt.release()
    return False
