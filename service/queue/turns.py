"""One run at a time for a worker that takes runs from several queues of the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

log = logging.getLogger(__name__)

Claim = Callable[..., tuple[list[str], Any]]
"""The engine's call that claims entries of a queue, its first argument; returns their ids and what held it back."""

BEGIN_LIMIT_S = 60.0
NO_ROOM = "worker_concurrency"


class Turns:
    """The runs that this process has claimed and not ended. While there is one, no queue gives another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._claimed: dict[str, float] = {}
        self._begun: set[str] = set()

    def limiting(self, claim: Claim, queues: Sequence[str]) -> Claim:
        """Return a call that claims as `claim` does, but from `queues` only if no run is in progress."""

        def limited(queue: Any, *arguments: Any, **named: Any) -> tuple[list[str], Any]:
            if queue.name not in queues:
                return claim(queue, *arguments, **named)
            with self._lock:  # a claim takes milliseconds; the threads of the other queues wait for it
                self._forget_lost()
                if self._claimed or self._begun:
                    return [], NO_ROOM
                ids, reason = claim(queue, *arguments, **named)
                self._claimed |= dict.fromkeys(ids, time.monotonic())
            return ids, reason

        return limited

    @contextmanager
    def of(self, run_id: str) -> Iterator[bool]:
        """Count a run as in progress until the block ends; yield whether it is the only one."""
        with self._lock:
            is_alone = not self._begun
            self._begun.add(run_id)
        try:
            yield is_alone
        finally:
            with self._lock:
                self._begun.discard(run_id)
                self._claimed.pop(run_id, None)

    def _forget_lost(self) -> None:
        """Forget claims that the engine failed to begin: it logs the reason, and recovers them at its next start."""
        for run_id, at in list(self._claimed.items()):
            if run_id not in self._begun and time.monotonic() - at > BEGIN_LIMIT_S:
                log.error("%s was claimed and did not begin within %.0f s", run_id, BEGIN_LIMIT_S)
                del self._claimed[run_id]
