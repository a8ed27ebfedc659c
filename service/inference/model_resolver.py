"""Resolve model names without a lookup in the database for every prediction.

A commit can change the model of a name such as `latest`. Every such commit increments a counter in the database; if the
counter has not moved, the cached lookups are still valid. Reading it from an SQLite file takes 3 microseconds. Reading
it from a PostgreSQL server takes a network round trip, so the value is trusted for `NETWORK_TRUST_S`. Any other
response of this process ends that trust (`invalidate`): a client that was notified of a new model must not get
predictions of the previous one.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from sqlalchemy import Engine

from models.inference.predictor import Predictor
from service.inference.answers import predicted_by
from service.inference.predictor_cache import Predictors
from service.store.checkpoints import ModelRow, find_model
from service.store.events import last_event_id

NETWORK_TRUST_S = 0.05
MAX_NAMES = 1000
SMALL_BYTES = 8 * 2**20
LOADS_AT_ONCE = 2
COUNT = "SELECT value FROM counters WHERE name = 'event_id'"


class ResolvedModel(NamedTuple):
    """A model: its row, its description for responses (JSON), and its predictor."""

    row: ModelRow
    described: bytes
    predictor: Predictor

    @property
    def id(self) -> str:
        """Return the id of the model, JOB@EPOCH."""
        return f"{self.row.checkpoint.job_id}@{self.row.checkpoint.epoch}"


class ModelResolver:
    """A cache of the models of names; only the event-loop thread may use it."""

    def __init__(self, engine: Engine, predictors: Predictors, trust_s: float | None = None) -> None:
        """`trust_s` (None: 0 for a file, else `NETWORK_TRUST_S`) is how long a read of the counter is trusted."""
        self._engine = engine
        self._predictors = predictors
        self._rows: dict[str, tuple[ModelRow, bytes]] = {}
        self._generation = -1
        self._read_at = -float("inf")
        self._invalidations = 0
        self._connection: Any = None
        # Threads of their own: small models and the database do not wait for a large one, which takes a second.
        self._small_loads = ThreadPoolExecutor(LOADS_AT_ONCE, "load-small")
        self._large_loads = ThreadPoolExecutor(LOADS_AT_ONCE, "load-large")
        self._is_file = engine.dialect.name == "sqlite"
        self._trust_s = trust_s if trust_s is not None else 0.0 if self._is_file else NETWORK_TRUST_S

    def cached(self, name: str) -> ResolvedModel | None:
        """Return the model of a name if the cache is valid and the model is loaded; otherwise None: call `resolve`.

        Raises the errors of the database if the counter cannot be read.
        """
        now = time.monotonic()
        if now - self._read_at >= self._trust_s:
            if not self._is_file:
                return None
            self._note_generation(self._read_counter())
            self._read_at = now
        return self._loaded(name)

    def invalidate(self) -> None:
        """Invalidate the cache until the counter is read again: this process has just announced something newer."""
        self._read_at = -float("inf")
        self._invalidations += 1

    async def resolve(self, name: str) -> ResolvedModel:
        """Return the model of a name now, and cache it. Raises `NotFound`, `CheckpointDamaged`."""
        before, announcements = time.monotonic(), self._invalidations
        # Counter first: after a commit between the two queries the row is newer than its generation, never older.
        generation = await asyncio.to_thread(last_event_id, self._engine)
        self._note_generation(generation)
        if announcements == self._invalidations:  # else the counter may be older than a later announcement
            self._read_at = before
        served = self._loaded(name)
        if served is not None:
            return served
        row = await asyncio.to_thread(find_model, self._engine, name)
        predictor = self._predictors.loaded(row)
        if predictor is None:
            pool = self._small_loads if row.checkpoint.weights_bytes <= SMALL_BYTES else self._large_loads
            predictor = await asyncio.get_running_loop().run_in_executor(pool, self._predictors.load, row)
        described = predicted_by(row).model_dump_json(exclude_none=True).encode()
        if generation == self._generation:
            if len(self._rows) >= MAX_NAMES:
                self._rows.clear()
            self._rows[name] = row, described
        return ResolvedModel(row, described, predictor)

    def _loaded(self, name: str) -> ResolvedModel | None:
        if name not in self._rows:
            return None
        row, described = self._rows[name]
        predictor = self._predictors.loaded(row)
        return ResolvedModel(row, described, predictor) if predictor is not None else None

    def _note_generation(self, generation: int) -> None:
        if generation > self._generation:
            self._rows.clear()
            self._generation = generation

    def _read_counter(self) -> int:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            self._connection.driver_connection.isolation_level = None  # autocommit: reading needs no transaction
        rows = self._connection.driver_connection.execute(COUNT).fetchall()
        return int(rows[0][0])

    def close(self) -> None:
        """Close the connection to the database, and stop the threads."""
        self._small_loads.shutdown()
        self._large_loads.shutdown()
        if self._connection is not None:
            self._connection.detach()
            self._connection.close()
            self._connection = None
