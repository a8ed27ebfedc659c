"""The watch beside a training: a thread that writes its progress and reads its owner's wishes, twice a second."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.errors import FaninError, Interrupted
from service.errors import Fenced
from service.store import runs
from service.store.runs import Attempt

WATCH_INTERVAL_S = 0.5


@dataclass
class Watch:
    """A thread that writes progress and reads the owner's wishes, every `WATCH_INTERVAL_S`."""

    engine: Engine
    attempt: Attempt
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _unwanted: FaninError | None = None
    _failure: Exception | None = None
    _published_at: float = 0.0

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def wants_progress(self) -> bool:
        """Say whether it is time to publish progress again."""
        return time.monotonic() - self._published_at >= WATCH_INTERVAL_S / 2

    def publish(self, progress: dict[str, dict[str, Any]]) -> None:
        """Hand over the progress of each job, by its id."""
        self.progress = progress
        self._published_at = time.monotonic()

    def raise_if_unwanted(self) -> None:
        """Raise `Interrupted` if no job wants to go on, `Fenced` if the run was taken over, or a database error."""
        if self._failure is not None:
            raise self._failure
        if self._unwanted is not None:
            raise self._unwanted

    def _run(self) -> None:
        while not self._stop.wait(WATCH_INTERVAL_S):
            try:
                states = runs.report_progress(self.engine, self.attempt, self.progress)
                for job_id, state in states.items():
                    if state == "cancelling":
                        runs.end_job(self.engine, self.attempt, job_id, "cancelled")
                if not any(state == "running" for state in states.values()):
                    self._unwanted = Interrupted("No job of the run wants to go on.")
                    return
            except Fenced as error:
                self._unwanted = error
                return
            except SQLAlchemyError as error:
                self._failure = error
                return
