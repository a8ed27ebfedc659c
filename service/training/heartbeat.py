"""The heartbeat of a worker process, and what living workers do for dead ones: the reaper.

All by the database's clock. A reaper acts only after it has itself beaten without a gap for one lifetime: after the
database was away, every worker looks silent for a moment, and none of them is dead.
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
from service.store.workers import NewBeat

log = logging.getLogger(__name__)

BEATS_A_LIFETIME = 4
MAX_GAP = 0.5
"""Share of a lifetime that may pass between two beats of a reaper."""


@dataclass
class Heartbeat:
    """Beats for one worker, and hands on what silent ones had taken."""

    engine: Engine
    deliveries: Deliveries
    ttl_s: float
    myself: Callable[[], NewBeat]
    _stop: threading.Event = field(default_factory=threading.Event)
    _last_beat_at: float = -float("inf")
    _steady_since: float = float("inf")
    _idle_claims: frozenset[str] = frozenset()

    def start(self) -> None:
        """Beat once, so that nobody takes this worker for a dead one, and go on in a thread."""
        self.beat()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Stop beating, and say that this worker is no more."""
        self._stop.set()
        workers.forget(self.engine, [self.myself().name])

    def beat(self) -> bool:
        """Beat once; return whether this worker has beaten without a gap for a lifetime, and may judge others."""
        instant = workers.beat(self.engine, self.myself())
        if instant - self._last_beat_at > MAX_GAP * self.ttl_s:
            self._steady_since = instant
        self._last_beat_at = instant
        return instant - self._steady_since >= self.ttl_s

    def reap(self) -> None:
        """Hand on the runs of dead workers, and take up those of this worker's that were delivered and got lost."""
        taken, me = self.deliveries.taken(), self.myself()
        dead = workers.silent(self.engine, set(taken.values()) - {me.name}, self.ttl_s)
        if dead:
            log.warning("silent for more than %g s: %s; their runs go back into the queue", self.ttl_s, ", ".join(dead))
            runs.apply_pending_actions_of(self.engine, dead)
            self.deliveries.hand_on(dead)
            workers.forget(self.engine, dead)
        idle = frozenset(run_id for run_id, owner in taken.items() if owner == me.name and run_id != me.run_id)
        for run_id in idle & self._idle_claims:
            # Taken and never begun, or ended and not noted by the queue: beginning it again does what is left.
            log.warning("%s was taken but is not worked on; it goes back into the queue", run_id)
            self.deliveries.hand_back(run_id)
        self._idle_claims = idle

    def _run(self) -> None:
        interval_s = self.ttl_s / BEATS_A_LIFETIME
        while not self._stop.wait(interval_s):
            started = time.monotonic()
            try:
                if self.beat():
                    self.reap()
            except SQLAlchemyError as error:
                log.warning("no heartbeat after %.1f s: %s", time.monotonic() - started, error)
