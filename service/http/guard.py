"""The one guard that every request passes: access, body limit, errors as problem documents, security headers."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import BodyTooLarge
from service.http.access import Access
from service.http.content_encoding import DecodeContent
from service.http.measures import note_request
from service.http.numbers import MAX_DIGITS
from service.http.problems import log_hang_up, problem_for
from service.log_context import begin_request

log = logging.getLogger(__name__)

NOSNIFF = (b"x-content-type-options", b"nosniff")
REQUEST_ID = b"x-request-id"
OF_SCOPE = "fanin.request_id"
INSPECTED = frozenset(
    {
        b"authorization",
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        REQUEST_ID,
    }
)


class Guard:
    """Checks a request before any other code reads it, answers every error of it, and measures it (ASGI).

    A request that `access` refuses gets 401 or 403. A body over the limit gets 413, by its declared length or when more
    bytes than that arrive; the limit holds for what comes out of a compressed one as well. An unexpected error gets
    500, and the connection stays open: the server would close it under the client's next request if the exception
    reached it. Nothing is answered to a client that has hung up.
    """

    def __init__(self, app: ASGIApp, access: Access, limit_bytes: int, *, logs_access: bool = False) -> None:
        self._note = _note_and_log if logs_access else note_request
        self._app = app
        self._decoding = DecodeContent(app, limit_bytes)
        self._access = access
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = has_ended = False
        begun = time.perf_counter()

        async def guarded_send(message: Message) -> None:
            nonlocal has_started, has_ended
            if message["type"] == "http.response.start":
                has_started = True
                self._note(scope, message["status"], time.perf_counter() - begun)
                message["headers"] = [*message.get("headers", ()), NOSNIFF, (REQUEST_ID, scope[OF_SCOPE])]
            else:
                has_ended = not message.get("more_body", False)
            await send(message)

        try:
            is_length_known, is_coded = self._check_headers(scope)
            app = self._decoding if is_coded else self._app
            await app(scope, receive if is_length_known else self._limited(receive), guarded_send)
        except ClientDisconnect:
            log_hang_up(scope)
        except Exception as error:
            if has_ended:  # the framework has answered an unexpected error, and raises it again
                return
            if has_started:
                raise
            await problem_for(scope, error)(scope, receive, guarded_send)

    def _check_headers(self, scope: Scope) -> tuple[bool, bool]:
        """Return whether the body's length is declared, and whether the body has a content coding.

        Raises `BodyTooLarge`, or what `Access.check` raises. A server reads no more than the declared length, unless
        the body comes in chunks.
        """
        found = {name: value for name, value in scope["headers"] if name in INSPECTED}
        scope[OF_SCOPE] = begin_request(found.get(REQUEST_ID))
        self._access.check(scope["method"], scope["path"], found)
        declared = found.get(b"content-length", b"")
        # Of bytes, `isdigit` knows the digits 0 to 9 alone.
        is_number = declared.isdigit() and len(declared) <= MAX_DIGITS
        if declared and not (is_number and int(declared) <= self._limit_bytes):
            raise self._too_large()
        return declared != b"" and b"transfer-encoding" not in found, b"content-encoding" in found

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


def _note_and_log(scope: Scope, status: int, seconds: float) -> None:
    note_request(scope, status, seconds)
    client = (scope.get("client") or ("?",))[0]
    log.info("%s %s %d %.1f ms %s", scope["method"], scope["path"], status, 1e3 * seconds, client)
