"""The log of a job as a stream: the lines that are there, those that come, and those of later attempts.

A worker replaces the file of an attempt every few seconds by the last 256 KiB of its lines. So a stream knows its place
by the last entry that it has sent, and goes on behind that entry wherever it is in the file now. An entry is a line
that begins with its time, and the lines after it that do not, such as a traceback's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from service.api.event_hub import HEARTBEAT, HEARTBEAT_S, EventHub
from service.artifacts.layout import log_path
from service.artifacts.store import Artifacts
from service.errors import NotFound, Unavailable
from service.store.jobs import JobRow, get_job

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
QUIET_AFTER_END_S = 4.0
"""For how long the log of an ended job may bring more: a worker writes it every two seconds and once at the end."""
CRC_BITS = 32
BEGINS_WITH_TIME = re.compile(rb"\d{4}-\d\d-\d\dT")
READERS = ThreadPoolExecutor(4, "logs")
"""Threads of their own: while storage is slow, streams must not take the threads of predictions and events."""


@dataclass(frozen=True)
class Place:
    """The place in a job's log behind a line: its attempt, and the checksum of the entry up to it; 0: the start."""

    attempt: int
    line: int = 0

    @property
    def number(self) -> int:
        """Return the place as the id of an event."""
        return (self.attempt << CRC_BITS) | self.line

    @classmethod
    def of(cls, number: int) -> Place:
        """Return the place that an id means."""
        return cls(number >> CRC_BITS, number & (2**CRC_BITS - 1))


def checksum(lines: Sequence[bytes], last: int) -> int:
    """Return the CRC-32 of an entry up to its line number `last`; never 0."""
    first = last
    while first > 0 and not BEGINS_WITH_TIME.match(lines[first]):
        first -= 1
    return zlib.crc32(b"\n".join(lines[first : last + 1])) or 1


def lines_behind(lines: list[bytes], place: Place) -> list[bytes]:
    """Return the lines behind a place; all, if its line is not there any more."""
    if place.line:
        for number in range(len(lines) - 1, -1, -1):
            if checksum(lines, number) == place.line:
                return lines[number + 1 :]
    return lines


class LogStream:
    """Follows the log of one job; `place` is where it has come to."""

    def __init__(self, hub: EventHub, artifacts: Artifacts, job: JobRow, place: Place) -> None:
        self._hub, self._artifacts = hub, artifacts
        self.job, self.place = job, place
        self._state: str | None = None

    def next_lines(self) -> list[bytes]:
        """Return the lines that have come since, after a look at the job and its file.

        Raises `NotFound`, and `Unavailable` if the file cannot be read now.
        """
        self.job = get_job(self._hub.engine, self.job.id)
        found = self._artifacts.read_log(log_path(self.job.id, self.place.attempt), self._state)
        if found is None or found.content is None:
            return []
        self._state = found.state
        lines = found.content.splitlines()
        new = lines_behind(lines, self.place)
        if new:
            self.place = Place(self.place.attempt, checksum(lines, len(lines) - 1))
        return new

    def _lines_if_possible(self) -> list[bytes] | None:
        """Return the next lines; None if the database or the file cannot be read now, which is no end."""
        try:
            return self.next_lines()
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("the log of %s cannot be read now: %s", self.job.id, error)
            return None

    async def events(self, tail: int | None) -> AsyncIterator[str]:
        """Yield server-sent events with the last `tail` lines (None: all), and then with those that come.

        Ends when the job has ended and its log is complete, or was deleted.
        """
        quiet_since = spoken_at = time.monotonic()
        with self._hub.listening([self.job.id]):
            while True:
                try:
                    lines = await asyncio.get_running_loop().run_in_executor(READERS, self._lines_if_possible)
                except NotFound:
                    return
                now = time.monotonic()
                if lines is None:
                    quiet_since = now
                elif lines:
                    yield self._event(lines if tail is None else lines[-tail:])
                    tail, quiet_since, spoken_at = None, now, now
                elif self.job.attempt > self.place.attempt:
                    self.place, self._state = Place(self.place.attempt + 1), None
                    continue
                elif self.job.ended and now - quiet_since > QUIET_AFTER_END_S:
                    return
                if now - spoken_at > HEARTBEAT_S:
                    yield HEARTBEAT
                    spoken_at = now
                await asyncio.sleep(LOOK_INTERVAL_S)

    def _event(self, lines: Sequence[bytes]) -> str:
        number, text = self.place.number, [line.decode(errors="replace") for line in lines]
        data = json.dumps({"id": number, "attempt": self.place.attempt, "lines": text}, ensure_ascii=False)
        return f"id: {number}\nevent: log\ndata: {data}\n\n"
