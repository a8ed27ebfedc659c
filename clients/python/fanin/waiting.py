"""How long to wait for the end of jobs, and when to look again."""

from __future__ import annotations

import time

from fanin.errors import ConnectionFailed, FaninError, Unavailable, WaitTimeout

FIRST_LOOK_S = 0.1
LONGEST_LOOK_S = 1.0
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

    def note_answer(self) -> None:
        """Note that the service has answered."""
        self._silent_since = None

    def note_silence(self, error: FaninError) -> None:
        """Note that it has not. Raises the error if that has lasted for `PATIENCE_S`, or is not of an outage."""
        if not isinstance(error, ConnectionFailed | Unavailable):
            raise error
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since > PATIENCE_S:
            raise error

    def pause_s(self) -> float:
        """Return the seconds until the next look. Raises `WaitTimeout`."""
        pause_s, self._pause_s = self._pause_s, min(1.5 * self._pause_s, LONGEST_LOOK_S)
        if self._timeout_s is None:
            return pause_s
        left_s = self._timeout_s - (time.monotonic() - self._started)
        if left_s <= 0:
            raise WaitTimeout(f"{self._what} has not ended after {self._timeout_s:g} s. It goes on: wait for it again.")
        return min(pause_s, left_s)
