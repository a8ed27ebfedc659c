"""Streams of events that go on after a broken connection."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx

from fanin._sync.clock import sleep
from fanin._sync.transport import Transport
from fanin.answers import Event
from fanin.errors import ApiError, BadAnswer, ConnectionFailed
from fanin.event_stream import EventParser
from fanin.retries import RETRIED_STATUSES, pause_s

PATIENCE_S = 300.0
"""How long a service that does not answer is asked again."""
NO_MORE = 204


@dataclass
class _Progress:
    """How far a stream was read, whether its ids rise, how often it broke since, and when something came last."""

    last: int
    is_ordered: bool = True
    failures: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    has_ended: bool = False


def events(
    transport: Transport,
    template: str,
    path: Mapping[str, object],
    query: Mapping[str, Any] | None = None,
    after: int | None = None,
    *,
    is_ordered: bool = True,
) -> Iterator[Event]:
    """Yield the events after an id, each once and in order, until there can be no more.

    Without `is_ordered` later ids may be smaller: those of lines of a log.

    After a broken connection the stream goes on behind the last event (Last-Event-ID). Raises `ConnectionFailed` if the
    service does not answer for `PATIENCE_S`, and `ApiError`.
    """
    progress = _Progress(after or 0, is_ordered)
    while not progress.has_ended:
        why = "its stream ended"
        try:
            with closing(_until_it_breaks(transport, template, path, query, progress)) as found:
                for event in found:
                    yield event
                    progress.heard_at = time.monotonic()  # the caller may have taken long
        except (httpx.TransportError, ApiError) as error:
            if isinstance(error, ApiError) and error.status not in RETRIED_STATUSES:
                raise
            why = str(error)
        if not progress.has_ended and progress.failures > 0:
            if time.monotonic() - progress.heard_at > PATIENCE_S:
                raise ConnectionFailed(f"The service does not answer any more: {why}")
            sleep(pause_s(progress.failures))
        progress.failures += 1  # until the next event


def _until_it_breaks(
    transport: Transport,
    template: str,
    path: Mapping[str, object],
    query: Mapping[str, Any] | None,
    progress: _Progress,
) -> Generator[Event, None, None]:
    """Yield the events of one connection. A stream that ends in order is asked for again: 204 says that it is over."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(progress.last)}
    with transport.stream(template, path, query=query, headers=headers) as response:
        if response.status_code == NO_MORE:
            progress.has_ended = True
            return
        if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
            raise BadAnswer(f"{response.url} is no stream of events. Is there a proxy before the service?")
        parser = EventParser()
        for piece in response.iter_raw():
            progress.heard_at = time.monotonic()
            for event in parser.feed(piece):
                if not progress.is_ordered or event["id"] > progress.last:
                    progress.last, progress.failures = event["id"], 0
                    yield Event(event)
