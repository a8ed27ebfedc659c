"""Decode bodies on threads of their own, within a budget of bytes.

A picture of 70 kB can have 16 million pixels. The budget bounds what all requests in progress may need together. Beyond
it a request is refused at once, because it would only wait while it holds its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.errors import Unavailable
from service.inference.picture_headers import decoding_bytes

Decoded = TypeVar("Decoded")

BUDGET_BYTES = 256 * 2**20
COPIES = 4
"""Of a body of numbers while it is read."""


class Decoding:
    """Runs decoders; belongs to one event loop."""

    def __init__(self, threads: int, budget_bytes: int = BUDGET_BYTES) -> None:
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._budget_bytes = budget_bytes
        self._used_bytes = 0

    async def run(self, decode: Callable[[], Decoded], body: bytes) -> Decoded:
        """Return what `decode` makes of a body. Raises `Unavailable` if others leave too little of the budget."""
        cost_bytes = cost_of(body)
        if self._used_bytes and self._used_bytes + cost_bytes > self._budget_bytes:
            raise Unavailable("Other requests are decoding large pictures.", "Try again soon, or send smaller ones.")
        self._used_bytes += cost_bytes
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, decode)
        finally:
            self._used_bytes -= cost_bytes

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()


def cost_of(body: bytes) -> int:
    """Return an estimate of the memory that decoding a body needs, from the header of a picture or the length."""
    return COPIES * len(body) + decoding_bytes(body)
