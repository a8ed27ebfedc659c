"""ASGI middleware between the guard and the framework: HEAD, and the invalidation of the model-name cache."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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

        as_get = {**scope, "method": "GET", "headers": headers}

        async def without_body(message: Message) -> None:
            if "route" in as_get:
                scope["route"] = as_get["route"]  # the request is measured by its route
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await self._app(as_get, receive, without_body)


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

        async def announced(message: Message) -> None:
            self._forget()
            await send(message)

        await self._app(scope, receive, announced)
