"""Which model a name means now, without asking the database for every prediction.

A name such as `latest` may mean another model at any commit. Every commit that could change that raises a counter in
the database; one look at it, a row, tells whether what was found before still holds. On SQLite, a file, the look takes
some microseconds and holds for `FILE_TRUST_S`; from a PostgreSQL server it comes over the network and holds for
`NETWORK_TRUST_S`. After whatever else this process has answered it holds no longer (`look_again`), so that nobody is
told of a model and then answered by the one before.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from sqlalchemy import Engine

from models.inference.predictor import Predictor
from service.inference.answers import predicted_by
from service.inference.predictor_cache import Predictors
from service.store.checkpoints import ModelRow
from service.store.events import last_event_id

FILE_TRUST_S = 0.005
NETWORK_TRUST_S = 0.05
MAX_NAMES = 1000
COUNT = "SELECT value FROM counters WHERE name = 'event_id'"


class ResolvedModel(NamedTuple):
    """A model that answers: its row, how answers name it (JSON), and its predictor."""

    row: ModelRow
    described: bytes
    predictor: Predictor

    @property
    def id(self) -> str:
        """Return JOB@EPOCH: exactly these weights."""
        return f"{self.row.checkpoint.job_id}@{self.row.checkpoint.epoch}"


class ModelResolver:
    """The models that names mean; for the event loop alone."""

    def __init__(self, engine: Engine, predictors: Predictors) -> None:
        self._engine = engine
        self._predictors = predictors
        self._rows: dict[str, tuple[ModelRow, bytes]] = {}
        self._generation = -1
        self._looked_at = -float("inf")
        self._told = 0
        self._connection: Any = None
        self._is_file = engine.dialect.name == "sqlite"
        self._trust_s = FILE_TRUST_S if self._is_file else NETWORK_TRUST_S

    def known(self, name: str) -> ResolvedModel | None:
        """Return what is known to answer to a name at this moment, or None: then `find` it.

        Raises what the database raises if it cannot be asked.
        """
        now = time.monotonic()
        if now - self._looked_at > self._trust_s:
            if not self._is_file:
                return None
            self._hold(self._counted())
            self._looked_at = now
        return self._served(name)

    def look_again(self) -> None:
        """Trust nothing that was found before without a look: this process has told somebody something newer."""
        self._looked_at = -float("inf")
        self._told += 1

    async def find(self, name: str) -> ResolvedModel:
        """Return what answers to a name now, and remember it. Raises `NotFound`, `CheckpointDamaged`."""
        before, told = time.monotonic(), self._told
        # The counter first: a commit between the two looks makes what is found newer than its number, never older.
        generation = await asyncio.to_thread(last_event_id, self._engine)
        self._hold(generation)
        if told == self._told:  # else the look may be older than what somebody has been told meanwhile
            self._looked_at = before
        served = self._served(name)
        if served is not None:
            return served
        row, predictor = await asyncio.to_thread(self._predictors.find, name)
        described = predicted_by(row).model_dump_json(exclude_none=True).encode()
        if generation == self._generation:
            if len(self._rows) >= MAX_NAMES:
                self._rows.clear()
            self._rows[name] = row, described
        return ResolvedModel(row, described, predictor)

    def _served(self, name: str) -> ResolvedModel | None:
        if name not in self._rows:
            return None
        row, described = self._rows[name]
        predictor = self._predictors.loaded(row)
        return ResolvedModel(row, described, predictor) if predictor is not None else None

    def _hold(self, generation: int) -> None:
        if generation > self._generation:
            self._rows.clear()
            self._generation = generation

    def _counted(self) -> int:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            self._connection.driver_connection.isolation_level = None  # a look is no transaction
        rows = self._connection.driver_connection.execute(COUNT).fetchall()
        return int(rows[0][0])

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.detach()
            self._connection.close()
            self._connection = None
