"""What every line of a log is about: the request that a process answers, or the run that it trains."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_PROCESS = secrets.token_hex(4).encode()
_numbers = itertools.count(1)
_request: ContextVar[bytes | None] = ContextVar("request_id", default=None)
_work: dict[str, object] = {}


def begin_request(sent: bytes | None) -> bytes:
    """Return the id of a request, and note it for the lines and the events that come of it.

    It is that of its X-Request-Id, if that has up to 64 letters, digits and ._:-, else a new one.
    """
    taken = sent if sent is not None and REQUEST_ID.fullmatch(sent) else b"%s-%x" % (_PROCESS, next(_numbers))
    _request.set(taken)
    return taken


def request_id() -> str | None:
    """Return the id of the request that is answered now, if there is one."""
    current = _request.get()
    return None if current is None else current.decode()


@contextmanager
def working_on(**work: object) -> Iterator[None]:
    """Note the run that this process trains, for the lines of all its threads."""
    _work.update(work)
    try:
        yield
    finally:
        _work.clear()


def log_fields() -> dict[str, object]:
    """Return the fields of a line that is written now."""
    found = dict(_work)
    current = request_id()
    return found if current is None else {"request_id": current, **found}
