"""The heartbeat of a worker process, and the reaper: live workers requeue the runs of dead ones.

All times are by the database's clock. A reaper acts only after its own heartbeats have had no gap for one lifetime:
after a database outage, or a jump of the clock, every worker seems silent for a moment, although none is dead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.queue.delivery import Deliveries
from service.store import runs, workers
from service.store.workers import NameLost, NewBeat

log = logging.getLogger(__name__)

BEATS_A_LIFETIME = 4
STOP_LIMIT_S = 2.0
MAX_GAP = 0.5
"""Share of a lifetime that may pass between two beats of a reaper."""


@dataclass
class Heartbeat:
    """Writes the heartbeats of one worker and requeues the runs of silent workers."""

    engine: Engine
    ttl_s: float
    myself: Callable[[], NewBeat]
    end_process: Callable[[], None]
    """Called if another process has taken this worker's name; it does not return."""

    deliveries: Deliveries | None = None
    """The queue, once this worker takes runs from it; before that it beats, but reaps nothing."""

    _thread: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _last_beat_at: float = -float("inf")
    _steady_since: float = float("inf")
    _idle_claims: frozenset[str] = frozenset()

    @property
    def interval_s(self) -> float:
        """Return the time between two heartbeats."""
        return self.ttl_s / BEATS_A_LIFETIME

    def start(self) -> None:
        """Beat in a thread; the first heartbeat is that of `WorkerName.claim`."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the heartbeats and delete this worker's row."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_LIMIT_S)  # a beat in progress would write the row again
        me = self.myself()
        workers.leave(self.engine, me.name, me.instance)

    def beat(self) -> bool:
        """Write one heartbeat; return whether there was no gap for a lifetime, so that this worker may reap."""
        instant = workers.beat(self.engine, self.myself())
        if abs(instant - self._last_beat_at) > MAX_GAP * self.ttl_s:
            self._steady_since = instant
        self._last_beat_at = instant
        return instant - self._steady_since >= self.ttl_s

    def reap(self) -> None:
        """Requeue the runs of dead workers, and runs delivered to this worker that it does not work on."""
        if self.deliveries is None:
            return
        taken, me = self.deliveries.taken(), self.myself()
        dead = workers.silent(self.engine, set(taken.values()) - {me.name}, self.ttl_s)
        if dead:
            log.warning("no heartbeat for more than %g s: %s; their runs are requeued", self.ttl_s, ", ".join(dead))
            runs.apply_pending_actions_of(self.engine, dead)
            self.deliveries.hand_on(dead)
            workers.forget(self.engine, dead, self.ttl_s)
        idle = frozenset(run_id for run_id, worker in taken.items() if worker == me.name and run_id != me.run_id)
        for run_id in idle & self._idle_claims:
            # Taken but never begun, or ended without the queue recording it: another attempt does the rest.
            log.warning("%s was taken but is not worked on; it is requeued", run_id)
            self.deliveries.hand_back(run_id)
        self._idle_claims = idle

    def _run(self) -> None:
        while not self._stop.wait(self.interval_s):
            started = time.monotonic()
            try:
                if self.beat():
                    self.reap()
            except NameLost as error:
                log.error("%s This worker ends; it starts again under the name if that is free.", error)  # noqa: TRY400
                self.end_process()
            except SQLAlchemyError as error:
                log.warning("heartbeat failed after %.1f s: %s", time.monotonic() - started, error)
