"""Answers that leave in one write: head and body together where that is asked for, and nothing lost or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.inference.coalesced_write import HoldingTransport, OneWriteProtocol, hold_of

REQUEST = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab"


class Recorded(asyncio.Transport):
    """What reaches the system: each write, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.ended = ""

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        return default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def answered(pieces: Sequence[bytes], *, holds: bool, requests: int = 1) -> Recorded:
    """Return what a server writes that answers with a head, perhaps held, and a body in pieces."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        hold = hold_of(scope)
        assert hold is not None
        if holds:
            hold()
        length = str(sum(map(len, pieces))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for index, piece in enumerate(pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": index + 1 < len(pieces)})

    async def serve() -> Recorded:
        config = uvicorn.Config(app, http=OneWriteProtocol, lifespan="off", log_config=None, ws="none")
        config.load()
        protocol = OneWriteProtocol(config=config, server_state=ServerState(), app_state={})
        transport = Recorded()
        protocol.connection_made(transport)
        for _ in range(requests):
            protocol.data_received(REQUEST)
            for _ in range(10):
                await asyncio.sleep(0)
        protocol.connection_lost(None)
        return transport

    return asyncio.run(serve())


def test_a_held_head_leaves_with_its_body() -> None:
    written = answered([b"seven"], holds=True, requests=3).writes
    assert len(written) == 3
    for one in written:
        assert one.startswith(b"HTTP/1.1 200 OK\r\n")
        assert one.endswith(b"\r\n\r\nseven")


@pytest.mark.parametrize("pieces", [[b"seven"], [b"se", b"ven"], [b"HTTP/1.1 200 OK\r\n\r\n", b"seven"]])
def test_the_bytes_are_the_same_held_or_not(pieces: list[bytes]) -> None:
    held, free = answered(pieces, holds=True).writes, answered(pieces, holds=False).writes
    assert [one[:9] for one in held[:1]] == [one[:9] for one in free[:1]]
    assert b"".join(held).partition(b"\r\n\r\n")[2] == b"".join(free).partition(b"\r\n\r\n")[2] == b"".join(pieces)
    assert len(held) == len(free) - 1 == len(pieces)


def test_a_body_without_bytes_lets_the_head_go() -> None:
    assert len(answered([b""], holds=True).writes) == 1


def test_what_is_held_is_written_before_the_transport_closes() -> None:
    under = Recorded()
    transport = HoldingTransport(under)
    transport.hold()
    transport.write(b"head")
    assert under.writes == []
    transport.close()
    assert (under.writes, under.ended, transport.is_closing()) == ([b"head"], "closed", True)


def test_only_one_write_is_held() -> None:
    under = Recorded()
    transport = HoldingTransport(under)
    transport.hold()
    for piece in (b"a", b"b", b"c"):
        transport.write(piece)
    assert under.writes == [b"ab", b"c"]


def test_another_server_offers_no_hold() -> None:
    assert hold_of({"type": "http"}) is None
    assert hold_of({"type": "http", "extensions": {"tls": {}}}) is None
