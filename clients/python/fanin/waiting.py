"""How long to wait for the end of jobs, and when to look again."""

from __future__ import annotations

import time

from fanin.errors import ApiError, ConnectionFailed, FaninError, WaitTimeout
from fanin.retries import RETRIED_STATUSES

FIRST_LOOK_S = 0.1
LONGEST_LOOK_S = 1.0
LEAST_LOOK_S = 0.5
PATIENCE_S = 300.0
"""How long a service that does not answer is asked again."""


class Waiting:
    """One wait: `pause_s` grows from a tenth of a second to a second, and errors of an outage are forgiven."""

    def __init__(self, what: str, timeout_s: float | None) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._started = time.monotonic()
        self._silent_since: float | None = None
        self._pause_s = FIRST_LOOK_S
        self._state = ""

    def note_answer(self, state: str = "") -> None:
        """Note that the service has answered, with the state of what is waited for."""
        self._silent_since = None
        self._state = state

    def note_silence(self, error: FaninError) -> None:
        """Note that it has not. Raises the error if that has lasted for `PATIENCE_S`, or is not of an outage."""
        is_outage = isinstance(error, ConnectionFailed) or (
            isinstance(error, ApiError) and error.status in RETRIED_STATUSES
        )
        if not is_outage:
            raise error
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since > PATIENCE_S:
            raise error

    def look_s(self, timeout_s: float) -> float:
        """Return the longest time of the next request: that of the client, or what is left of the wait."""
        return (
            timeout_s if self._timeout_s is None else max(LEAST_LOOK_S, min(timeout_s, self._left_s(self._timeout_s)))
        )

    def _left_s(self, timeout_s: float) -> float:
        return timeout_s - (time.monotonic() - self._started)

    def pause_s(self) -> float:
        """Return the seconds until the next look. Raises `WaitTimeout`."""
        pause_s, self._pause_s = self._pause_s, min(1.5 * self._pause_s, LONGEST_LOOK_S)
        if self._timeout_s is None:
            return pause_s
        left_s = self._left_s(self._timeout_s)
        if left_s <= 0:
            what = "It is paused: resume it." if self._state == "paused" else "It goes on: wait for it again."
            raise WaitTimeout(f"{self._what} has not ended after {self._timeout_s:g} s. {what}")
        return min(pause_s, left_s)
