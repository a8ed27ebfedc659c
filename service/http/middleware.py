"""ASGI middleware: API key, body limit, HEAD, unexpected errors, cache invalidation, security headers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, NotAuthenticated
from service.http.problems import problem_of, problem_of_unknown

log = logging.getLogger(__name__)

OPEN_PATHS = ("/healthz", "/readyz", "/docs", "/openapi.json", "/static-docs", "/web")


class RequireKey:
    """Answers 401 to requests without `Authorization: Bearer <key>`, except for `/` and `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http" or self._is_open(scope["path"]) or has_key(scope, self._key):
            await self._app(scope, receive, send)
            return
        await problem_of(scope["path"], no_key())(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path == "/" or any(path == open_path or path.startswith(f"{open_path}/") for open_path in OPEN_PATHS)


def has_key(scope: Scope, key: str) -> bool:
    """Return whether a request has the service's key; the comparison takes constant time."""
    authorization = Headers(scope=scope).get("authorization", "")
    return secrets.compare_digest(authorization.encode("utf-8"), f"Bearer {key}".encode("ascii"))


def no_key() -> NotAuthenticated:
    """Return the error of a request without the key."""
    return NotAuthenticated(
        "This service needs a key.",
        "Send the header `Authorization: Bearer <key>` with the value of FANIN_API_KEY.",
    )


class LimitBody:
    """Answers 413 to bodies over a limit, by their declared length or when more bytes than that arrive."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared) > self._limit_bytes:
            await problem_of(scope["path"], body_too_large(self._limit_bytes))(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, body_too_large(self._limit_bytes).detail)
            return message

        await self._app(scope, counted, send)


def body_too_large(limit_bytes: int) -> BodyTooLarge:
    """Return the error of a body over the limit."""
    return BodyTooLarge(
        f"The body is larger than {limit_bytes} bytes.", "Send fewer images at a time, or raise FANIN_MAX_BODY_BYTES."
    )


class AnswerHead:
    """Answers HEAD as GET without the body. It drops Accept, because an event stream has no end: HEAD gets the list."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await self._app({**scope, "method": "GET", "headers": headers}, receive, without_body)


class AnswerUnexpected:
    """Answers unexpected errors with a problem document, and keeps the connection open.

    The framework's handler raises the error again after its response. The server then closes the connection, and the
    client's next request on it fails.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            log.exception("unexpected error at %s %s", scope["method"], scope["path"])
            await problem_of_unknown(scope["path"])(scope, receive, send)


class InvalidateModelCache:
    """Invalidates the model-name cache whenever this process sends anything, including events of a stream.

    A client that was notified of a job's success, or has moved an alias, therefore gets predictions of the new model.
    """

    def __init__(self, app: ASGIApp, forget: Callable[[], None]) -> None:
        self._app = app
        self._forget = forget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            self._forget()
            await send(message)

        await self._app(scope, receive, told)


class SecurityHeaders:
    """Adds `X-Content-Type-Options: nosniff` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
