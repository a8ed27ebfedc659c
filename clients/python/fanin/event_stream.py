"""The format of server-sent events (WHATWG HTML, section 9.2), as far as the service uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MAX_EVENT_BYTES = 16 * 2**20


class EventParser:
    """Reads the events of a stream from its bytes, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that are complete with this piece, as JSON. Raises `ValueError` if one is too large."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise ValueError(f"An event of the stream is larger than {MAX_EVENT_BYTES:,} bytes.")
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text.startswith("data:"):
                self._data.append(text[5:].removeprefix(" "))
            elif not text and self._data:
                event: dict[str, Any] = json.loads("\n".join(self._data))
                self._data = []
                yield event
