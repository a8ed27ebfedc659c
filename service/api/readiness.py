"""What this API process needs to do its work: database, folder of checkpoints, room on the disk, data, workers.

Health checks need no key, so the report names no address, no path and no version of a library.
"""

from __future__ import annotations

import logging
import threading
import time
from importlib.metadata import version
from pathlib import Path

from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.data.mnist import is_here
from service.artifacts.store import Artifacts
from service.errors import Unavailable
from service.http.answers import Answer
from service.store.migration import require_tables
from service.store.outages import cause_of, check_writing
from service.store.workers import count_live

log = logging.getLogger(__name__)

LEAST_FREE_BYTES = 64 * 2**20
CHECKED_FOR_S = 1.0


class Readiness(Answer):
    """The parts that were checked; a process that is not ready answers 503 with the reason."""

    status: str = "ok"
    version: str = Field(description="Version of Fanin.")
    build: str | None = Field(None, description="Name of the build (FANIN_BUILD), if it has one.")
    database: str = Field("ok", description="A row was written.")
    artifacts: str = Field(
        description="ok: files can be written; read-only: only workers can write them; away: the object storage does "
        "not answer, and only models that are in memory are served."
    )
    disk_free_bytes: int | None = Field(
        description="Free bytes on the disk of the checkpoints; null: they are in object storage."
    )
    data: str = Field(description="mnist, or mnist_5k where the files of MNIST are not there.")
    workers: int = Field(description="Workers with a recent heartbeat; without one, jobs wait.")


class ReadinessChecks:
    """Checks of one API process; a result is reused for `CHECKED_FOR_S`, so that frequent questions cost nothing."""

    def __init__(
        self, engine: Engine, artifacts: Artifacts, data_dir: Path, worker_ttl_s: float, build: str | None = None
    ) -> None:
        self._build = build
        self._engine = engine
        self._artifacts = artifacts
        self._data_dir = data_dir
        self._worker_ttl_s = worker_ttl_s
        self._lock = threading.Lock()
        self._checked_at = -float("inf")
        self._result: Readiness | Unavailable | None = None

    def check(self) -> Readiness:
        """Return the state of all parts. Raises `Unavailable` with the cause if one of them does not work."""
        # One request checks at a time. The others get the last result: waiting for a database that is away, they would
        # take the threads of all other operations.
        if self._lock.acquire(blocking=self._result is None):
            try:
                if time.monotonic() - self._checked_at > CHECKED_FOR_S or self._result is None:
                    self._result = self._checked()
                    self._checked_at = time.monotonic()
            finally:
                self._lock.release()
        result = self._result
        assert result is not None
        if isinstance(result, Unavailable):
            raise type(result)(result.detail, result.hint)
        return result

    def _checked(self) -> Readiness | Unavailable:
        try:
            return self._check()
        except Unavailable as error:
            return error

    def _check(self) -> Readiness:
        try:
            require_tables(self._engine)
            check_writing(self._engine)
            with self._engine.connect() as connection:
                live = count_live(connection, self._worker_ttl_s)
        except SQLAlchemyError as error:
            log.warning("not ready: %s", error)
            raise cause_of(error) from None
        artifacts, free_bytes = self._check_artifacts()
        data = "mnist" if is_here(self._data_dir) else "mnist_5k"
        return Readiness(
            version=version("fanin"),
            build=self._build,
            artifacts=artifacts,
            disk_free_bytes=free_bytes,
            data=data,
            workers=live,
        )

    def _check_artifacts(self) -> tuple[str, int | None]:
        try:
            is_writable, free_bytes = self._artifacts.check()
        except Unavailable as error:
            if self._artifacts.is_remote:  # most requests need no file, and every other replica lacks it as well
                log.warning("the storage is away: %s", error)
                return "away", None
            log.warning("not ready: %s %s", error.detail, error.__cause__ or "")
            raise
        if is_writable and free_bytes is not None and free_bytes < LEAST_FREE_BYTES:
            raise Unavailable(
                f"The disk of the checkpoints has {free_bytes // 2**20} MiB left, too few for a checkpoint.",
                "Free some space: delete jobs, or lower FANIN_KEEP_CHECKPOINTS.",
            )
        return "ok" if is_writable else "read-only", free_bytes
