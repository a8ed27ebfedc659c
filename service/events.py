"""News of jobs for whoever listens: one poller of the database an API process, many streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.store.events import EventRow, events_after, last_event_id

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.25
HEARTBEAT_S = 15.0
STREAM_CHUNK = 200
LAST_EVENTS = frozenset({"job.cancelled", "job.succeeded", "job.failed"})


class EventHub:
    """Wakes the streams whose job has news. The database holds the events; the hub only says that there are some."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listeners: dict[asyncio.Event, str] = {}
        self._anyone = asyncio.Event()

    @contextmanager
    def listening(self, job_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the job has news, until the block ends."""
        news = asyncio.Event()
        self._listeners[news] = job_id
        self._anyone.set()
        try:
            yield news
        finally:
            del self._listeners[news]

    async def run(self) -> None:
        """Poll as long as somebody listens; runs until it is cancelled."""
        seen = 0
        while True:
            if not self._listeners:
                self._anyone.clear()
                await self._anyone.wait()
                seen = 0
            try:
                seen = await self._wake_listeners(seen)
            except SQLAlchemyError as error:
                log.warning("events cannot be read: %s", error)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _wake_listeners(self, seen: int) -> int:
        newest = await asyncio.to_thread(last_event_id, self._engine)
        if seen == 0:
            for news in self._listeners:
                news.set()
            return newest
        if newest > seen:
            rows = await asyncio.to_thread(events_after, self._engine, seen)
            touched = {row.job_id for row in rows}
            for news, job_id in list(self._listeners.items()):
                if job_id in touched:
                    news.set()
            return rows[-1].id if rows else newest
        return seen

    async def stream(
        self, job_id: str, after: int, render: Callable[[EventRow], str], heartbeat: str
    ) -> AsyncIterator[str]:
        """Yield the rendered events of a job after an id as they happen, and a heartbeat in long silences.

        Ends after an event that ends the job, when nothing follows it.
        """
        with self.listening(job_id) as news:
            while True:
                news.clear()
                rows = await asyncio.to_thread(events_after, self._engine, after, job_id=job_id, limit=STREAM_CHUNK)
                for row in rows:
                    yield render(row)
                    after = row.id
                if len(rows) == STREAM_CHUNK:
                    continue
                if rows and rows[-1].type in LAST_EVENTS:
                    return
                try:
                    await asyncio.wait_for(news.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield heartbeat
