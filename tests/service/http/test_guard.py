"""The guard in front of every application: what it refuses, and what it answers if the application fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from service.http.access import Access
from service.http.guard import Guard

LIMIT_BYTES = 8
Headers = list[tuple[bytes, bytes]]


async def length(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body."""
    size, more = 0, True
    while more:
        try:
            message = await receive()
        except HTTPException as error:
            await send({"type": "http.response.start", "status": error.status_code, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        size, more = size + len(message.get("body", b"")), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise an error that nothing expects."""
    raise RuntimeError("unexpected")


def answered(
    pieces: Sequence[bytes], headers: Headers, key: str | None = None, path: str = "/predict", app: object = length
) -> list[Message]:
    """Return what a guarded application sends for a body in pieces."""
    left, sent = list(pieces), list[Message]()

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    asyncio.run(Guard(app, Access(key), LIMIT_BYTES)(scope, receive, send))  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize(
    ("pieces", "headers", "status"),
    [
        ([b"12345678"], [(b"content-length", b"8")], 200),
        ([b"123456789"], [(b"content-length", b"9")], 413),
        ([b"1"], [(b"content-length", b"-1")], 413),
        ([b"1"], [(b"content-length", b"\xb2")], 413),
        ([b"1234", b"5678"], [], 200),
        ([b"1234", b"56789"], [], 413),
        ([b"1234", b"56789"], [(b"transfer-encoding", b"chunked")], 413),
        ([b"1234", b"56789"], [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 413),
    ],
)
def test_a_body_over_the_limit_is_refused(pieces: list[bytes], headers: Headers, status: int) -> None:
    assert answered(pieces, headers)[0]["status"] == status


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/predict", b"Bearer right", 200),
        ("/predict", b"bearer  right", 200),
        ("/predict", b"Bearer wrong", 401),
        ("/predict", b"right", 401),
        ("/predict", "Bearer r\xefght".encode("latin-1"), 401),
        ("/healthz", b"", 200),
        ("/healthzz", b"", 401),
        ("/web/app.js", b"", 200),
    ],
)
def test_only_the_key_opens_what_is_not_public(path: str, sent: bytes, status: int) -> None:
    assert answered([b"1"], [(b"authorization", sent)], "right", path)[0]["status"] == status


def test_nothing_is_answered_to_a_client_that_has_hung_up() -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    assert answered([b"1"], [], app=reading) == []


def test_an_unexpected_error_is_answered_as_a_problem_document() -> None:
    start, *_ = answered([b"1"], [], app=failing)
    assert start["status"] == 500
    assert (b"content-type", b"application/problem+json") in start["headers"]


@pytest.mark.parametrize("app", [length, failing])
def test_every_response_forbids_browsers_to_guess_its_type(app: object) -> None:
    assert (b"x-content-type-options", b"nosniff") in answered([b"1"], [], app=app)[0]["headers"]
