"""The one guard that every request passes: key, body limit, errors as problem documents, security headers."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge, NotAuthenticated
from service.http.problems import problem_for

OPEN_PATHS = ("/healthz", "/readyz", "/docs", "/openapi.json", "/static-docs", "/web")
NOSNIFF = (b"x-content-type-options", b"nosniff")


class Guard:
    """Checks a request before any other code reads it, and answers every error that is raised for it (ASGI).

    A request without `Authorization: Bearer <key>` gets 401, except for `/` and `OPEN_PATHS`. A body over the limit
    gets 413, by its declared length or when more bytes than that arrive. An unexpected error gets 500, and the
    connection stays open: the server would close it under the client's next request if the exception reached it.
    """

    def __init__(self, app: ASGIApp, key: str | None, limit_bytes: int) -> None:
        self._app = app
        self._authorization = None if key is None else f"Bearer {key}".encode("ascii")
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = has_ended = False

        async def guarded_send(message: Message) -> None:
            nonlocal has_started, has_ended
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = [*message.get("headers", ()), NOSNIFF]
            else:
                has_ended = not message.get("more_body", False)
            await send(message)

        try:
            is_length_known = self._check_headers(scope)
            await self._app(scope, receive if is_length_known else self._limited(receive), guarded_send)
        except Exception as error:
            if has_ended:  # the framework has answered an unexpected error, and raises it again
                return
            if has_started:
                raise
            await problem_for(scope, error)(scope, receive, guarded_send)

    def _check_headers(self, scope: Scope) -> bool:
        """Say whether the body's length is declared, or raise `NotAuthenticated` or `BodyTooLarge`.

        A server reads no more than the declared length, unless the body comes in chunks.
        """
        sent_key, declared, is_chunked = b"", b"", False
        for name, value in scope["headers"]:
            if name == b"authorization":
                sent_key = value
            elif name == b"content-length":
                declared = value
            elif name == b"transfer-encoding":
                is_chunked = True
        # `compare_digest` takes equally long for every wrong key.
        if not (
            self._authorization is None
            or _is_open(scope["path"])
            or secrets.compare_digest(sent_key, self._authorization)
        ):
            raise NotAuthenticated(
                "This service needs a key.",
                "Send the header `Authorization: Bearer <key>` with the value of FANIN_API_KEY.",
            )
        if declared and (not declared.isdigit() or int(declared) > self._limit_bytes):
            raise self._too_large()
        return declared != b"" and not is_chunked

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                # The framework passes this exception on; it would report any other as a malformed body.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(self._too_large()))
            return message

        return counted

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self._limit_bytes} bytes.",
            "Send fewer images at a time, or raise FANIN_MAX_BODY_BYTES.",
        )


def _is_open(path: str) -> bool:
    return path == "/" or any(path == open_path or path.startswith(f"{open_path}/") for open_path in OPEN_PATHS)
