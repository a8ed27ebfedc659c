"""One run at a time for a worker that takes runs from several queues of the engine."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

log = logging.getLogger(__name__)

Claim = Callable[..., tuple[list[str], Any]]
"""The engine's call that claims entries of a queue, its first argument; returns their ids and what held it back."""

BEGIN_LIMIT_S = 60.0
BEGUN = math.inf
"""Stands for the time of the claim of a run that has begun: it is never late."""

NO_ROOM = "worker_concurrency"


class Turns:
    """The runs that this process has claimed and not ended. While there is one, no queue gives another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._claimed_at: dict[str, float] = {}

    def limiting(self, claim: Claim, queues: Sequence[str]) -> Claim:
        """Return a call that claims as `claim` does, but from `queues` only if no run is in progress."""

        def limited(queue: Any, *arguments: Any, **named: Any) -> tuple[list[str], Any]:
            if queue.name not in queues:
                return claim(queue, *arguments, **named)
            with self._lock:  # a claim takes milliseconds; the threads of the other queues wait for it
                self._forget_lost()
                if self._claimed_at:
                    return [], NO_ROOM
                ids, reason = claim(queue, *arguments, **named)
                self._claimed_at |= dict.fromkeys(ids, time.monotonic())
            return ids, reason

        return limited

    @contextmanager
    def of(self, run_id: str) -> Iterator[bool]:
        """Count a run as in progress until the block ends; yield whether it is the only one."""
        with self._lock:
            is_alone = BEGUN not in self._claimed_at.values()
            self._claimed_at[run_id] = BEGUN
        try:
            yield is_alone
        finally:
            with self._lock:
                self._claimed_at.pop(run_id, None)

    def _forget_lost(self) -> None:
        """Forget claims that the engine failed to begin: it logs the reason, and recovers them at its next start."""
        for run_id, at in list(self._claimed_at.items()):
            if time.monotonic() - at > BEGIN_LIMIT_S:
                log.error("%s was claimed and did not begin within %.0f s", run_id, BEGIN_LIMIT_S)
                del self._claimed_at[run_id]
