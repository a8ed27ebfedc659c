"""Loaded models: kept in memory up to a limit, shared by all requests."""

from __future__ import annotations

import threading
from collections import OrderedDict

from models.checkpoint import decode
from models.inference.predictor import Predictor
from service.artifacts.store import Artifacts
from service.http.measures import FILES
from service.store.checkpoints import CheckpointRow, ModelRow


class Predictors:
    """A thread-safe LRU cache of predictors, limited by their memory in bytes; at least one stays."""

    def __init__(self, artifacts: Artifacts, limit_bytes: int) -> None:
        self._artifacts = artifacts
        self._limit_bytes = limit_bytes
        self._loaded: OrderedDict[str, Predictor] = OrderedDict()
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def load(self, row: ModelRow) -> Predictor:
        """Return the predictor of a model, which it loads if necessary.

        Raises `Unavailable`, and `CheckpointDamaged` if the file is missing or altered.
        """
        key = row.checkpoint.weights_path  # files are immutable, so a path is a version
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # concurrent requests for a model wait for the first to load it; other models do not
            predictor = self.loaded(row)
            if predictor is None:
                predictor = self._read(row.checkpoint)
            with self._lock:
                self._loaded[key] = predictor
                self._drop_oldest()
                self._turns.pop(key, None)
        return predictor

    def loaded(self, row: ModelRow) -> Predictor | None:
        """Return the predictor of a model if it is in memory."""
        key = row.checkpoint.weights_path
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _read(self, row: CheckpointRow) -> Predictor:
        with FILES.timed():
            return Predictor.of(decode(self._artifacts.read(row.weights_path, row.weights_file_sha256)))

    def _drop_oldest(self) -> None:
        used = sum(predictor.memory_bytes for predictor in self._loaded.values())
        while used > self._limit_bytes and len(self._loaded) > 1:
            _, dropped = self._loaded.popitem(last=False)
            used -= dropped.memory_bytes
