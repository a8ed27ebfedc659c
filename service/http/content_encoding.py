"""Read compressed bodies: `Content-Encoding` gzip and deflate (RFC 9110, section 8.4.1) on every operation.

The limit of a body holds for what comes out. It is read in pieces, so that a body of 16 KiB that expands to 16 MiB does
not hold the event loop.
"""

from __future__ import annotations

import asyncio
import zlib
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import UnsupportedEncoding

PIECE_BYTES = 64 * 1024
MAX_EMPTY_MEMBERS = 1000
"""One after another, of a gzip file."""
GZIP_FORMAT, ZLIB_FORMAT, RAW_FORMAT = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
GZIP_MAGIC = b"\x1f\x8b"
READ = frozenset({b"gzip", b"x-gzip", b"deflate"})
UNCODED = frozenset({b"", b"identity"})


class DecodeContent:
    """Decompresses the bodies of requests (ASGI); `limit_bytes` bounds what comes out."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Raises `UnsupportedEncoding`."""
        coding = _coding_of(scope) if scope["type"] == "http" else b""
        if not coding:
            await self._app(scope, receive, send)
            return
        dropped = (b"content-encoding", b"content-length")
        headers = [pair for pair in scope["headers"] if pair[0] not in dropped]
        await self._app({**scope, "headers": headers}, _Decompressed(receive, coding, self._limit_bytes), send)


def _coding_of(scope: Scope) -> bytes:
    """Return how a body is compressed, empty if it is not. Raises `UnsupportedEncoding`."""
    lines = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if not lines:
        return b""
    codings = [part for part in (one.strip().lower() for one in b",".join(lines).split(b",")) if part not in UNCODED]
    if len(codings) > 1 or not READ.issuperset(codings):
        raise UnsupportedEncoding(
            f"The Content-Encoding {b', '.join(codings).decode('latin-1')!r} is not read.",
            "Send the body uncompressed, or with gzip or deflate.",
        )
    return codings[0] if codings else b""


class _Decompressed:
    """`receive` of a request, with its body decompressed piece by piece."""

    def __init__(self, receive: Receive, coding: bytes, limit_bytes: int) -> None:
        self._receive = receive
        self._coding = coding
        self._left_bytes = limit_bytes
        self._limit_bytes = limit_bytes
        self._inflate: zlib._Decompress | None = None
        self._waiting = b""
        self._has_more = True
        self._is_over = False

    async def __call__(self) -> Message:
        """Return the next piece, and after the last one what the server tells. Raises `HTTPException` 400 and 413."""
        if self._is_over:
            return await self._receive()
        piece = self._next_piece()
        while not piece and self._has_more:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._waiting, self._has_more = message.get("body", b""), message.get("more_body", False)
            piece = self._next_piece()
        self._left_bytes -= len(piece)
        if self._left_bytes < 0:
            # The framework passes this exception on; it would report any other as a malformed body.
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is larger than {self._limit_bytes} bytes when it is decompressed. "
                "Send fewer images at a time, or raise FANIN_MAX_BODY_BYTES.",
            )
        await asyncio.sleep(0)
        self._is_over = not piece
        if self._is_over and self._inflate is not None and not self._inflate.eof:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The compressed body is cut off.")
        return {"type": "http.request", "body": piece, "more_body": not self._is_over}

    def _next_piece(self) -> bytes:
        """Return what comes out of the waiting bytes, or what is pending without any; empty if there is nothing."""
        for _ in range(MAX_EMPTY_MEMBERS):
            inflate = self._inflate
            if inflate is None:
                if not self._waiting:
                    return b""
                inflate = self._inflate = zlib.decompressobj(self._format())
            piece = self._inflated(inflate)
            if piece or not inflate.unused_data:
                return piece
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"More than {MAX_EMPTY_MEMBERS} members of the body are empty.")

    def _inflated(self, inflate: zlib._Decompress) -> bytes:
        """Return the next piece of a member; at its end, the next member gets an object of its own."""
        try:
            piece = inflate.decompress(self._waiting, PIECE_BYTES)
        except zlib.error as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"The body is not {self._coding.decode()}: {error}.") from error
        self._waiting = inflate.unconsumed_tail
        if inflate.unused_data:
            self._waiting = inflate.unused_data
            if self._coding == b"deflate" or not self._waiting.startswith(GZIP_MAGIC[: len(self._waiting)]):
                raise HTTPException(HTTPStatus.BAD_REQUEST, "Bytes follow the end of the compressed body.")
            self._inflate = None  # a gzip file may have several members (RFC 1952, section 2.2)
        return piece

    def _format(self) -> int:
        if self._coding != b"deflate":
            return GZIP_FORMAT
        # deflate means the zlib format, but some clients send the bare stream.
        first = int.from_bytes(self._waiting[:2].ljust(2, b"\0"), "big")
        return ZLIB_FORMAT if first >> 8 & 0x0F == 8 and first % 31 == 0 else RAW_FORMAT
