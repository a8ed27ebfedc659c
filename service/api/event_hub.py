"""The events of an API process: one reader of the database serves all event streams.

The reader keeps the newest events in memory. A stream first reads what its client has missed from the database. From
then on it takes its events from memory, so that a thousand streams cost the database no more than one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from fastapi.responses import StreamingResponse
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.errors import Unavailable
from service.http.measures import STREAMS
from service.store.events import EventRow, deleted_of, events_after, last_event_id
from service.store.jobs import ENDED, EVENT_OF, open_jobs

log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.1
HEARTBEAT_S = 15.0
HEARTBEAT = ": hb\n"
"""A comment without a blank line, because some clients would take that for an empty event."""

STREAM_CHUNK = 200
RELEASE_LIMIT_S = 5.0
KEPT_EVENTS = 5000
KEPT_TEXTS = 1000
ENDS = frozenset(EVENT_OF[state] for state in ENDED)


def stream_response(events: AsyncIterator[str]) -> StreamingResponse:
    """Return the response with server-sent events, which no proxy keeps back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


class EventHub:
    """Reads new events once for all streams of this process; belongs to one event loop."""

    def __init__(self, engine: Engine, max_streams: int) -> None:
        self._engine = engine
        self._max_streams = max_streams
        self._listeners: dict[asyncio.Event, Collection[str] | None] = {}
        self._anyone = asyncio.Event()
        self._kept: list[EventRow] = []
        self._kept_after = self._seen = -1
        self._deleted: frozenset[str] = frozenset()
        self._texts: OrderedDict[int, str] = OrderedDict()

    @property
    def engine(self) -> Engine:
        """Return the database whose events it reads."""
        return self._engine

    def require_room(self) -> None:
        """Raise `Unavailable` if this process has its maximum number of streams."""
        if len(self._listeners) >= self._max_streams:
            raise Unavailable(
                f"{self._max_streams} event streams are open (FANIN_MAX_STREAMS).",
                "Close some, or ask for the list of events with ?after=.",
            )

    def text_of(self, row: EventRow, write: Callable[[EventRow], str]) -> str:
        """Return what `write` makes of an event; the texts of the newest ones are kept for other streams."""
        text = self._texts.get(row.id)
        if text is None:
            text = self._texts[row.id] = write(row)
            if len(self._texts) > KEPT_TEXTS:
                self._texts.popitem(last=False)
        return text

    @contextmanager
    def listening(self, job_ids: Collection[str] | None) -> Iterator[asyncio.Event]:
        """Count a stream until the block ends, and yield what is set when there is news of these jobs (None: all)."""
        news = asyncio.Event()
        self._listeners[news] = job_ids
        STREAMS.add(1)
        self._anyone.set()
        try:
            yield news
        finally:
            del self._listeners[news]
            STREAMS.add(-1)

    async def run(self) -> None:
        """Read the database while there are listeners; runs until it is cancelled."""
        while True:
            if not self._listeners:
                self._kept, self._kept_after, self._seen = [], -1, -1
                self._anyone.clear()
                await self._anyone.wait()
            try:
                await self._read()
            except SQLAlchemyError as error:
                log.warning("events cannot be read: %s", error)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _read(self) -> None:
        """Take in what is new since the last time, and wake the listeners that it is about."""
        newest = await asyncio.to_thread(last_event_id, self._engine)
        if self._seen < 0:
            self._kept_after = self._seen = newest
            self._wake(None)
            return
        if newest <= self._seen:
            return
        rows = await asyncio.to_thread(events_after, self._engine, self._seen)
        touched = {row.job_id for row in rows}
        seen = rows[-1].id if rows else newest
        if seen - self._seen > len(rows):  # the counter also counts changes without an event, such as a deletion
            self._deleted = await asyncio.to_thread(deleted_of, self._engine, self._watched())
            touched |= self._deleted
        self._kept += rows
        self._seen = seen
        if len(self._kept) > KEPT_EVENTS:
            self._kept_after = self._kept[-KEPT_EVENTS - 1].id
            del self._kept[:-KEPT_EVENTS]
        self._wake(touched)

    def _watched(self) -> set[str]:
        return {job_id for job_ids in self._listeners.values() for job_id in job_ids or ()}

    def _wake(self, touched: Collection[str] | None) -> None:
        for news, job_ids in self._listeners.items():
            if touched is None or job_ids is None or not set(touched).isdisjoint(job_ids):
                news.set()

    def _in_memory(self, after: int) -> Sequence[EventRow] | None:
        """Return the events after an id, or None if older ones may be missing in memory."""
        if self._seen < 0 or after < self._kept_after:
            return None
        return self._kept[bisect_right(self._kept, after, key=lambda row: row.id) :]

    async def wait_for_end(self, job_id: str, limit_s: float) -> None:
        """Return when a job has ended or was deleted, at the latest after `limit_s` seconds."""
        with suppress(TimeoutError), self.listening([job_id]) as news:
            async with asyncio.timeout(limit_s):
                while await asyncio.to_thread(open_jobs, self._engine, [job_id]):
                    await news.wait()
                    news.clear()

    async def _next_rows(self, job_ids: Collection[str] | None, after: int) -> tuple[list[EventRow], int]:
        """Return the next events of a stream, and the id up to which all of its events are now known."""
        rows = self._in_memory(after)
        if rows is None:
            seen = self._seen
            read = list(await asyncio.to_thread(events_after, self._engine, after, job_ids=job_ids, limit=STREAM_CHUNK))
            return read, read[-1].id if len(read) == STREAM_CHUNK else max(seen, after, *(row.id for row in read))
        mine = [row for row in rows if job_ids is None or row.job_id in job_ids][:STREAM_CHUNK]
        return mine, mine[-1].id if len(mine) == STREAM_CHUNK else max(self._seen, after)

    async def stream(
        self, job_ids: Collection[str] | None, after: int, render: Callable[[EventRow], str]
    ) -> AsyncIterator[str]:
        """Yield the rendered events of jobs (None: all jobs) with ids above `after`, and heartbeats in between.

        Ends when all named jobs have ended or were deleted and no event follows. After a cancellation it also waits
        for `job.released`, at most `RELEASE_LIMIT_S`. A stream of all jobs does not end.
        """
        with self.listening(job_ids) as news:
            still_open = set(await asyncio.to_thread(open_jobs, self._engine, job_ids)) if job_ids is not None else None
            releasing_until = 0.0
            while True:
                news.clear()
                rows, after = await self._next_rows(job_ids, after)
                for row in rows:
                    yield render(row)
                    releasing_until = _releasing_until(row, releasing_until)
                    if still_open is not None:
                        _follow(still_open, row)
                if len(rows) == STREAM_CHUNK:
                    continue
                is_over = still_open is not None and not still_open - self._deleted
                wait_s = min(HEARTBEAT_S, releasing_until - time.monotonic()) if is_over else HEARTBEAT_S
                if is_over and wait_s <= 0:
                    return
                try:
                    await asyncio.wait_for(news.wait(), wait_s)
                except TimeoutError:
                    if not is_over:
                        yield HEARTBEAT


def _follow(still_open: set[str], row: EventRow) -> None:
    """Note in the set of open jobs what an event says: that a job has ended, or waits again."""
    if row.type in ENDS:
        still_open.discard(row.job_id)
    elif row.type == "job.queued":
        still_open.add(row.job_id)


def _releasing_until(row: EventRow, until: float) -> float:
    """Return the monotonic time until which a stream waits for the `job.released` event of a cancelled job."""
    if row.type == "job.released":
        return 0.0
    return time.monotonic() + RELEASE_LIMIT_S if row.type == "job.cancelled" and "attempt" in row.data else until
