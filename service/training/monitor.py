"""The monitor of a training: a thread that writes progress and reads requested cancels and pauses, twice a second.

It also ends the process of a step that hangs, because nothing else can end a call that is stuck in a driver or a
library. If the step holds the interpreter's lock, this thread cannot run either. A timer of `faulthandler` then ends
the process and writes the stack of every thread to its log.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import threading
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.errors import FaninError, Interrupted
from service.errors import Fenced
from service.store import runs
from service.store.attempts import Attempt
from service.store.jobs import JobState
from service.store.outages import OUT_OF_REACH

log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 0.5
LOCKED_AFTER = 1.25
"""Multiple of the stall limit after which the process is ended from outside the interpreter."""


class TimeLimit(FaninError):
    """The training has taken the time that its spec allows."""


@dataclass
class TrainingMonitor:
    """A thread that writes progress and reads requested cancels and pauses, every `WATCH_INTERVAL_S`.

    `end_process` is called if the training makes no step for `stall_limit_s`; it does not return. While `waits()` is
    true the training waits for its files, which is no stall. Time in which it waits for files or for the database does
    not count towards the limit of `limit_time`.
    """

    engine: Engine
    attempt: Attempt
    stall_limit_s: float
    end_process: Callable[[], None]
    waits: Callable[[], bool] = lambda: False
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    someone_pauses: bool = False
    cancelled: frozenset[str] = frozenset()
    _stop: threading.Event = field(default_factory=threading.Event)
    _unwanted: FaninError | None = None
    _failure: Exception | None = None
    _published_at: float = 0.0
    _max_seconds: float = math.inf
    _deadline: float = math.inf
    _moved_at: float = 0.0
    _armed_for: float = -1.0

    def __enter__(self) -> TrainingMonitor:
        self.moved()
        self._arm_timer()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def moved(self) -> None:
        """Record that the training has advanced."""
        self._moved_at = time.monotonic()

    def wants_progress(self) -> bool:
        """Return whether it is time to publish progress again."""
        return time.monotonic() - self._published_at >= WATCH_INTERVAL_S / 2

    def publish(self, progress: dict[str, dict[str, Any]]) -> None:
        """Set the progress of each job, by job id, for the thread to write."""
        self.progress = progress
        self._published_at = time.monotonic()

    def limit_time(self, max_seconds: float, spent_s: float) -> None:
        """Let `raise_if_unwanted` raise `TimeLimit` after `max_seconds` of training, `spent_s` of which are over."""
        self._max_seconds = max_seconds
        self._deadline = time.monotonic() + max_seconds - spent_s

    def raise_if_unwanted(self) -> None:
        """Raise `Interrupted` if no job is left to train, `Fenced` if the run was taken over, or a database error.

        Raises `TimeLimit` after the time that `limit_time` has set.
        """
        if time.monotonic() > self._deadline:
            raise TimeLimit(
                f"The training has taken {self._max_seconds:,.0f} s (max_seconds); its last checkpoint is kept.",
                "Submit it with a larger max_seconds, fewer epochs or a smaller network.",
            )
        if self._failure is not None:
            raise self._failure
        if self._unwanted is not None:
            raise copy(self._unwanted)  # the kept error's traceback would keep the training in memory

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._stop.wait(WATCH_INTERVAL_S):
            try:
                if self.waits():
                    self._note_wait(looked_at)
                looked_at = time.monotonic()
                self._look_after_steps()
                self._apply_pending_actions(runs.report_progress(self.engine, self.attempt, self.progress))
            except OUT_OF_REACH as error:
                log.warning("progress cannot be written for now: %s", getattr(error, "orig", error))
                self._note_wait(looked_at)  # the training may wait for the database as well
                looked_at = time.monotonic()
            except Fenced as error:
                self._unwanted = error
            except SQLAlchemyError as error:
                self._failure = error

    def _note_wait(self, since: float) -> None:
        """Record that the training may have waited since then: that is no stall, and no time of training."""
        self.moved()
        self._deadline += time.monotonic() - since

    def _apply_pending_actions(self, states: dict[str, JobState]) -> None:
        for job_id, state in states.items():
            if state == "cancelling":
                runs.end_job(self.engine, self.attempt, job_id, "cancelled")
        self.cancelled = frozenset(job_id for job_id, state in states.items() if state in ("cancelling", "cancelled"))
        self.someone_pauses = "pausing" in states.values()
        if not any(state in ("running", "pausing") for state in states.values()):
            self._unwanted = Interrupted("No job of the run is left to train.")

    def _look_after_steps(self) -> None:
        if self._moved_at != self._armed_for:
            self._arm_timer()
        still_s = time.monotonic() - self._moved_at
        if still_s < self.stall_limit_s:
            return
        detail = f"The training made no step for {still_s:.0f} s (FANIN_STALL_LIMIT_S)."
        log.error("%s: %s This worker restarts.", self.attempt.run_id, detail)
        faulthandler.dump_traceback()
        try:
            runs.note_error(self.engine, self.attempt, {"type": "stalled", "detail": detail})
        finally:
            self.end_process()

    def _arm_timer(self) -> None:
        self._armed_for = self._moved_at
        faulthandler.dump_traceback_later(self.stall_limit_s * LOCKED_AFTER, exit=True)
