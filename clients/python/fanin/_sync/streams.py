"""Streams of events that go on after a broken connection."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from fanin._sync.clock import sleep
from fanin._sync.transport import Transport
from fanin.answers import Event
from fanin.errors import ConnectionFailed, Unavailable
from fanin.event_stream import EventParser
from fanin.retries import pause_s

PATIENCE_S = 300.0
"""How long a service that does not answer is asked again."""
NO_MORE = 204


@dataclass
class _Progress:
    """How far a stream has been read, and since when nothing has come."""

    last: int
    failures: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    has_ended: bool = False


def events(
    transport: Transport,
    template: str,
    path: Mapping[str, object],
    query: Mapping[str, Any] | None = None,
    after: int | None = None,
) -> Iterator[Event]:
    """Yield the events after an id, each once and in order, until there can be no more.

    After a broken connection the stream goes on behind the last event (Last-Event-ID). Raises `ConnectionFailed` if the
    service does not answer for `PATIENCE_S`, and `ApiError`.
    """
    progress = _Progress(after or 0)
    while not progress.has_ended:
        try:
            for event in _until_it_breaks(transport, template, path, query, progress):
                yield event
        except (httpx.TransportError, Unavailable) as error:  # noqa: PERF203 - each connection may break
            progress.failures += 1
            if time.monotonic() - progress.heard_at > PATIENCE_S:
                raise ConnectionFailed(f"The service does not answer any more: {error}") from error
            sleep(pause_s(progress.failures))


def _until_it_breaks(
    transport: Transport,
    template: str,
    path: Mapping[str, object],
    query: Mapping[str, Any] | None,
    progress: _Progress,
) -> Iterator[Event]:
    """Yield the events of one connection. A stream that ends in order is asked for again: 204 says that it is over."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(progress.last)}
    with transport.stream(template, path, query=query, headers=headers) as response:
        progress.has_ended = response.status_code == NO_MORE
        parser = EventParser()
        for piece in response.iter_raw():
            progress.failures, progress.heard_at = 0, time.monotonic()
            for event in parser.feed(piece):
                if event["id"] > progress.last:
                    progress.last = event["id"]
                    yield Event(event)
