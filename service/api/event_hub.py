"""Notify event streams of new events: one poller of the database per API process serves all streams."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.store.events import EventRow, events_after, last_event_id
from service.store.jobs import open_jobs

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.25
HEARTBEAT_S = 15.0
STREAM_CHUNK = 200
RELEASE_LIMIT_S = 5.0


class EventHub:
    """Wakes the streams whose jobs have new events. It only notifies: the streams read the events from the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listeners: dict[asyncio.Event, Collection[str] | None] = {}
        self._anyone = asyncio.Event()

    @contextmanager
    def listening(self, job_ids: Collection[str] | None) -> Iterator[asyncio.Event]:
        """Yield an `asyncio.Event` that is set whenever one of the jobs (None: any job) has new events."""
        news = asyncio.Event()
        self._listeners[news] = job_ids
        self._anyone.set()
        try:
            yield news
        finally:
            del self._listeners[news]

    async def run(self) -> None:
        """Poll the database while there are listeners; runs until it is cancelled."""
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
            for news, job_ids in list(self._listeners.items()):
                if job_ids is None or not touched.isdisjoint(job_ids):
                    news.set()
            return rows[-1].id if rows else newest
        return seen

    async def wait_for_end(self, job_id: str, limit_s: float) -> None:
        """Return when a job has ended or was deleted, at the latest after `limit_s` seconds."""
        with suppress(TimeoutError), self.listening([job_id]) as news:
            async with asyncio.timeout(limit_s):
                while await asyncio.to_thread(open_jobs, self._engine, [job_id]):
                    await news.wait()
                    news.clear()

    async def stream(
        self, job_ids: Collection[str] | None, after: int, render: Callable[[EventRow], str], heartbeat: str
    ) -> AsyncIterator[str]:
        """Yield the rendered events of jobs (None: all jobs) with ids above `after`, and heartbeats in between.

        Ends when all named jobs have ended or were deleted and no event follows. After a cancellation it also waits
        for `job.released`, at most `RELEASE_LIMIT_S`. A stream of all jobs does not end.
        """
        with self.listening(job_ids) as news:
            releasing_until = 0.0
            while True:
                news.clear()
                is_over = job_ids is not None and not await asyncio.to_thread(open_jobs, self._engine, job_ids)
                rows = await asyncio.to_thread(events_after, self._engine, after, job_ids=job_ids, limit=STREAM_CHUNK)
                for row in rows:
                    yield render(row)
                    after = row.id
                    releasing_until = _releasing_until(row, releasing_until)
                if len(rows) == STREAM_CHUNK:
                    continue
                wait_s = min(HEARTBEAT_S, releasing_until - time.monotonic()) if is_over else HEARTBEAT_S
                if is_over and wait_s <= 0:
                    return
                try:
                    await asyncio.wait_for(news.wait(), wait_s)
                except TimeoutError:
                    if not is_over:
                        yield heartbeat


def _releasing_until(row: EventRow, until: float) -> float:
    """Return the monotonic time until which a stream waits for the `job.released` event of a cancelled job."""
    if row.type == "job.released":
        return 0.0
    return time.monotonic() + RELEASE_LIMIT_S if row.type == "job.cancelled" and "attempt" in row.data else until
