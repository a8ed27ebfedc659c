"""Which requests are sent again, and after how long."""

from __future__ import annotations

import random

import httpx

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 8.0
MAX_ASKED_PAUSE_S = 60.0
NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors before a request was sent: it can be repeated, whatever it does."""


def may_repeat_after(error: httpx.TransportError, *, is_repeatable: bool) -> bool:
    """Return whether a request can be sent again after the connection failed."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return is_repeatable or isinstance(error, NEVER_ARRIVED)


def pause_s(attempt: int, retry_after: str | None = None) -> float:
    """Return the seconds before the next attempt; `attempt` counts those that have failed, from 1.

    They double each time, with a random part, so that many clients do not come back together. A Retry-After of the
    service counts instead, up to a minute.
    """
    if retry_after is not None and retry_after.isascii() and retry_after.isdecimal():
        return min(float(retry_after), MAX_ASKED_PAUSE_S)
    longest = min(FIRST_PAUSE_S * 2.0 ** (attempt - 1), MAX_PAUSE_S)
    return longest * (0.5 + 0.5 * random.random())  # noqa: S311 - no secret
