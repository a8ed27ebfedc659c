"""The transports of the responses of a connection: with fewer writes, and without chunks for HTTP/1.0."""

from __future__ import annotations

import asyncio

HEAD = b"HTTP/1.1 "
CONTINUE = b"HTTP/1.1 100 "
CHUNKED = b"transfer-encoding: chunked\r\n"
CONTENT_LENGTH = b"\r\ncontent-length: "


class OneWrite:
    """The transport of the responses of one connection: the head of a response waits for the first bytes of its body.

    uvicorn writes both one after the other, which is two system calls. Only a head with a content-length waits; the
    head of a stream leaves at once. It has the methods of a transport that uvicorn calls for a response.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write bytes, or keep a head until the next ones."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD) and CONTENT_LENGTH in data:
            self._head = data
            return
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Return whether the connection is closing."""
        return self._transport.is_closing()

    def flush(self) -> None:
        """Write a head that no body has followed."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Write what is left, and close."""
        self.flush()
        self._transport.close()


class Unchunked(OneWrite):
    """The transport of a response to HTTP/1.0, which knows no chunks: such a client reads to the end of the connection.

    uvicorn writes each chunk with its size at once.
    """

    __slots__ = ("_has_head", "_is_chunked")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._has_head = self._is_chunked = False

    def write(self, data: bytes) -> None:
        """Write a head without its transfer-encoding, or a chunk without its size."""
        if not self._has_head:
            self._has_head = not data.startswith(CONTINUE)
            self._is_chunked = CHUNKED in data
            self._transport.write(data.replace(CHUNKED, b""))
        elif not data:
            return
        elif self._is_chunked:
            size, _, rest = data.partition(b"\r\n")
            self._transport.write(rest[: int(size, 16)])
        else:
            self._transport.write(data)
