"""uvicorn's HTTP protocol, with answers that leave in one write.

uvicorn writes the head of an answer and then its body, and the loop hands each to the system at once: two system calls
and two packets for what fits into one. Where an answer is whole already, its head is held until the body follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HOLD = "fanin.hold"
"""The extension of a scope whose `hold` keeps what is written next until something follows it."""


def hold_of(scope: Scope) -> Callable[[], None] | None:
    """Return what holds the head of this answer back, if the server offers it."""
    hold: Callable[[], None] | None = scope.get("extensions", {}).get(HOLD, {}).get("hold")
    return hold


class HoldingTransport:
    """A transport that can hold one write until the next; all else is the transport's under it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holds = False
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def hold(self) -> None:
        """Hold what is written next until something follows it, or the transport is closed."""
        self._holds = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Write, together with what is held; or hold it."""
        if self._holds:
            self._holds, self._held = False, bytes(data)
            return
        if self._held:
            data, self._held = b"".join((self._held, data)), b""
        self._transport.write(data)

    def close(self) -> None:
        """Write what is held and close."""
        if self._held:
            self.write(b"")
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that holds heads of answers back where it is asked to."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        self._holding = HoldingTransport(transport)
        super().connection_made(cast("asyncio.Transport", self._holding))

    def on_message_begin(self) -> None:
        """Begin with a request, whose scope offers `HOLD`."""
        super().on_message_begin()
        self.scope["extensions"] = {HOLD: {"hold": self._holding.hold}}
