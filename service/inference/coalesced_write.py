"""uvicorn's HTTP protocol, with responses that are sent in one write.

uvicorn writes the head and the body of a response separately, and the event loop sends each immediately: two system
calls and two packets. If the response is already complete, this protocol holds its head until the body follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HOLD = "fanin.hold"
"""Name of the ASGI extension; its `hold` delays the next write until another one follows."""


def hold_of(scope: Scope) -> Callable[[], None] | None:
    """Return the function that delays the head of this response, or None if the server has none."""
    hold: Callable[[], None] | None = scope.get("extensions", {}).get(HOLD, {}).get("hold")
    return hold


class HoldingTransport:
    """A transport that can delay one write until the next; delegates everything else."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holds = False
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def hold(self) -> None:
        """Delay the next write until another one follows or the transport is closed."""
        self._holds = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Write the data after any held data, or hold it if `hold` was called."""
        if self._holds:
            self._holds, self._held = False, bytes(data)
            return
        if self._held:
            data, self._held = b"".join((self._held, data)), b""
        self._transport.write(data)

    def close(self) -> None:
        """Write any held data, and close."""
        if self._held:
            self.write(b"")
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a `HoldingTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport of a new connection."""
        self._holding = HoldingTransport(transport)
        super().connection_made(cast("asyncio.Transport", self._holding))

    def on_message_begin(self) -> None:
        """Start a request, and add `HOLD` to the extensions of its scope."""
        super().on_message_begin()
        self.scope["extensions"] = {HOLD: {"hold": self._holding.hold}}
