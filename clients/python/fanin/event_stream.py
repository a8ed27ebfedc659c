"""The format of server-sent events (WHATWG HTML, section 9.2), as far as the service uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fanin.errors import BadAnswer

MAX_EVENT_BYTES = 16 * 2**20


class EventParser:
    """Reads the events of a stream from its bytes, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that are complete with this piece, as JSON. Raises `BadAnswer` for anything else."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise BadAnswer(f"An event of the stream is larger than {MAX_EVENT_BYTES:,} bytes.")
        for line in lines:
            text = line.rstrip(b"\r").decode(errors="replace")
            if text.startswith("data:"):
                self._data.append(text[5:].removeprefix(" "))
            elif not text and self._data:
                data, self._data = "\n".join(self._data), []
                yield _event_in(data)


def _event_in(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except ValueError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("id"), int):
        raise BadAnswer("The stream has data that are no event of Fanin.")
    return event
