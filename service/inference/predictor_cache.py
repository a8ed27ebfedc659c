"""Loaded models: looked up by name, kept in memory up to a limit, shared by all requests."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sqlalchemy import Engine

from models.checkpoint import decode
from models.inference.predictor import Predictor
from service.artifacts import Artifacts
from service.store.checkpoints import CheckpointRow, ModelRow, find_model


class Predictors:
    """A thread-safe LRU cache of predictors, limited by their memory in bytes; at least one stays."""

    def __init__(self, engine: Engine, artifacts: Artifacts, limit_bytes: int) -> None:
        self._engine = engine
        self._artifacts = artifacts
        self._limit_bytes = limit_bytes
        self._loaded: OrderedDict[str, Predictor] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def find(self, name: str) -> tuple[ModelRow, Predictor]:
        """Return the model that `name` resolves to now, and its predictor, which it loads if necessary.

        Raises `NotFound`, `Unavailable`, and `CheckpointDamaged` if the file is missing or altered.
        """
        row = find_model(self._engine, name)
        key = row.checkpoint.weights_path  # files are immutable, so a path is a version
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return row, self._loaded[key]
        with self._reading:  # one load at a time: concurrent requests for a model wait for the first to load it
            with self._lock:
                predictor = self._loaded.get(key)
            if predictor is None:
                predictor = self._read(row.checkpoint)
            with self._lock:
                self._loaded[key] = predictor
                self._drop_oldest()
        return row, predictor

    def loaded(self, row: ModelRow) -> Predictor | None:
        """Return the predictor of a model if it is in memory."""
        key = row.checkpoint.weights_path
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _read(self, row: CheckpointRow) -> Predictor:
        return Predictor.of(decode(self._artifacts.read(row.weights_path, row.weights_file_sha256)))

    def _drop_oldest(self) -> None:
        used = sum(predictor.memory_bytes for predictor in self._loaded.values())
        while used > self._limit_bytes and len(self._loaded) > 1:
            _, dropped = self._loaded.popitem(last=False)
            used -= dropped.memory_bytes
