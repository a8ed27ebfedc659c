"""The server's side of a connection: uvicorn's HTTP protocol, with limits on what a client may hold and for how long.

uvicorn waits for ever for the end of a request's headers or body, reads headers of any size, and accepts as many
connections as the process has file handles. Each of these stops the service for all other clients, before a key is
looked at. One sweep a second looks after all connections of a process, so that a request costs no timer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import resource
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.http.response_writes import OneWrite, Unchunked

log = logging.getLogger(__name__)

HEADER_BYTES = 64 * 1024
HEADER_LIMIT_S = 15.0
STALL_LIMIT_S = 30.0
"""How long a body may bring no byte, and a client may read no byte of its response."""

BODY_LIMIT_S = 600.0

SWEEP_INTERVAL_S = 1.0
LOG_INTERVAL_S = 10.0
SPARE_FILES = 64
"""File handles of a process that are not left to connections: database, checkpoints, logs, pipes."""

H2C = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*h2c[ \t]*(?=\r\n|$)", re.IGNORECASE)
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 5\r\n"
    b"content-length: 45\r\nconnection: close\r\n\r\nThe service has too many connections; retry.\n"
)
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 36\r\nconnection: close\r\n\r\nThe headers are larger than 64 KiB.\n"
)


class Connections:
    """All connections of a process: their limit, and the sweep that closes those that stand still."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: set[LimitedProtocol] = set()
        self.waiting: dict[LimitedProtocol, None] = {}
        """The connections that wait for the headers of a request, those that have waited longest first."""
        self._sweep: asyncio.TimerHandle | None = None
        self._refused = 0
        self._logged_at = -float("inf")

    def add(self, connection: LimitedProtocol) -> bool:
        """Take a new connection in and return True; False if there are too many that are at work."""
        if len(self._open) >= self.limit and not self._close_longest_waiting():
            self._note("refused")
            return False
        self._open.add(connection)
        self.waiting[connection] = None
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._look)
        return True

    def discard(self, connection: LimitedProtocol) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self.waiting.pop(connection, None)

    def _close_longest_waiting(self) -> bool:
        """Close the connection that has waited longest for headers; they may be idle, slow, or never come."""
        oldest = next(iter(self.waiting), None)
        if oldest is None:
            return False
        self._note("closed while they waited for a request")
        self.waiting.pop(oldest, None)
        oldest.transport.abort()  # closing would wait for a client that does not read its response
        return True

    def _note(self, what: str) -> None:
        self._refused += 1
        if monotonic() - self._logged_at >= LOG_INTERVAL_S:
            log.warning("%d connections %s: %d are open (FANIN_MAX_CONNECTIONS)", self._refused, what, self.limit)
            self._refused, self._logged_at = 0, monotonic()

    def _look(self) -> None:
        instant = monotonic()
        for connection in list(self._open):
            connection.look(instant)
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP_INTERVAL_S, self._look) if self._open else None


class LimitedProtocol(HttpToolsProtocol):
    """One connection within the limits of its process; see the module.

    These methods run for every request: they call the base class by name, which is quicker than `super()`.
    """

    connections_of_process: Connections

    # Slots, because an instance with more than 30 attributes in its dictionary has slow access to all of them.
    __slots__ = (
        "_all",
        "_began_at",
        "_header_bytes",
        "_in_body",
        "_moved_at",
        "_one_write",
        "_unsent_bytes",
        "_waiting",
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._all = self.connections_of_process
        self._waiting = self._all.waiting
        self._header_bytes, self._in_body = 0, False
        self._began_at = self._moved_at = 0.0
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it in plain text: nothing of a request has been read."""
        super().connection_made(transport)
        self._began_at = self._moved_at = monotonic()
        self._one_write = OneWrite(transport)
        if not self._all.add(self):
            transport.write(BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and close the connection if its headers are too large."""
        self._moved_at = monotonic()
        if not self._in_body:
            is_beginning = self._header_bytes == 0
            self._header_bytes += len(data)
            if is_beginning and b"h2c" in data:
                data = without_h2c(data)
        HttpToolsProtocol.data_received(self, data)
        if self._header_bytes > HEADER_BYTES and not self._in_body and not self.transport.is_closing():
            log.warning("headers of more than %d bytes are refused", HEADER_BYTES)
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Note that the headers are complete; those that came at once may be too large all the same."""
        if self._header_bytes > HEADER_BYTES and self._size_of_headers() > HEADER_BYTES:
            self.app = _refuse_headers
        self._header_bytes, self._in_body = 0, True
        self._began_at = self._moved_at
        self._waiting.pop(self, None)
        HttpToolsProtocol.on_headers_complete(self)
        is_old = self.scope["http_version"] == "1.0"
        self.cycle.transport = Unchunked(self.transport) if is_old else self._one_write  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Note that the body is complete, or that there is none; what follows are headers again."""
        self._in_body = False
        HttpToolsProtocol.on_message_complete(self)

    def _size_of_headers(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_response_complete(self) -> None:
        """Note that the next request may come."""
        self._one_write.flush()
        HttpToolsProtocol.on_response_complete(self)
        self._began_at = monotonic()
        if self.cycle.response_complete and not self.transport.is_closing():  # else the next one has begun already
            self._waiting[self] = None

    def look(self, instant: float) -> None:
        """Close this connection if its headers, its body, or the reading of its response stand still."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes != self._unsent_bytes:
            self._unsent_bytes, self._moved_at = unsent_bytes, instant
        is_idle = self.cycle is None or self.cycle.response_complete
        late_s = 0.0
        if unsent_bytes:
            late_s = instant - self._moved_at - STALL_LIMIT_S
        elif self._in_body and not self.flow.read_paused:
            late_s = max(instant - self._moved_at - STALL_LIMIT_S, instant - self._began_at - BODY_LIMIT_S)
        elif is_idle:
            late_s = instant - self._began_at - HEADER_LIMIT_S
        if late_s > 0:  # even if it is closing: that waits for ever for a client that does not read
            log.info("a connection stood still and is closed")
            self.transport.abort()


def without_h2c(data: bytes) -> bytes:
    """Return the first bytes of a request, with all of its headers, without `Upgrade: h2c`, which a server may ignore.

    Java's HttpClient offers HTTP/2 with every request. The parser would take what follows the headers for another
    protocol, and the request would lose its body. Headers that do not arrive at once are left as they are: an end of
    headers that is found in a later piece could be one in the body.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return H2C.sub(b"", head) + end + body if end else data


async def _refuse_headers(_scope: Any, _receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send(
        {"type": "http.response.start", "status": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers": headers}
    )
    await send({"type": "http.response.body", "body": b"The headers are larger than 64 KiB.\n"})


def protocol_within(max_connections: int) -> type[LimitedProtocol]:
    """Return the protocol of one process, with at most `max_connections` of them at a time.

    The limit is lower where the process may not open as many files; the soft limit is raised to the hard one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max_connections + SPARE_FILES if soft == resource.RLIM_INFINITY else soft
    connections = Connections(max(1, min(max_connections, files - SPARE_FILES)))

    class Protocol(LimitedProtocol):
        """The protocol of this process."""

        connections_of_process = connections

    return Protocol
