"""The log of an attempt, kept beside the checkpoints of its jobs: what a worker on another machine has to say.

The last 256 KiB of lines of an attempt are kept for each job, without the lines that are about other jobs of its run.
They are written every few seconds, and when the attempt ends; a worker that is killed loses the lines since.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from service.artifacts.layout import log_path
from service.artifacts.store import Artifacts
from service.errors import Unavailable
from service.logs import text_formatter

log = logging.getLogger(__name__)

MAX_LOG_BYTES = 256 * 1024
JOB_ID = re.compile(rb"\bjob_[0-9a-z]+")
WRITTEN_EVERY_S = 2.0
FEW = 8
"""Of a run with more jobs the logs are written at its end alone, and its lines have the number of jobs."""


class AttemptLog(logging.Handler):
    """Keeps the lines that this process logs during an attempt, and writes them for each job of it."""

    def __init__(self, artifacts: Artifacts, number: int, job_ids: Sequence[str], worker: str) -> None:
        super().__init__()
        self.setFormatter(text_formatter(worker))
        self._artifacts, self._number, self._job_ids = artifacts, number, job_ids
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._has_news = False
        self._ended = threading.Event()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, and drop the oldest ones beyond the limit."""
        try:
            line = self.format(record).encode(errors="replace") + b"\n"
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not end a training
            self.handleError(record)
            return
        self._lines.append(line)
        self._bytes += len(line)
        self._has_news = True
        while self._bytes > MAX_LOG_BYTES and len(self._lines) > 1:
            self._bytes -= len(self._lines.popleft())

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        if len(self._job_ids) <= FEW:
            self._writer = threading.Thread(target=self._write_again, name="attempt-log", daemon=True)
            self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self)
        self._ended.set()
        if self._writer is not None:
            self._writer.join()
        self._write()

    def _write_again(self) -> None:
        while not self._ended.wait(WRITTEN_EVERY_S):
            self._write()

    def _write(self) -> None:
        if not self._has_news:
            return
        self._has_news = False
        self.acquire()
        try:
            lines = list(self._lines)
        finally:
            self.release()
        for job_id, own in _by_job(lines, self._job_ids).items():
            try:
                self._artifacts.replace(log_path(job_id, self._number), b"".join(own))
            except (OSError, Unavailable) as error:  # the checkpoints go there too, and say it with more weight
                log.warning("the log of %s cannot be written: %s", job_id, error)


def _by_job(lines: Sequence[bytes], job_ids: Sequence[str]) -> dict[str, list[bytes]]:
    """Return the lines for each job: those about it, and those about none."""
    found: dict[str, list[bytes]] = {job_id: [] for job_id in job_ids}
    for line in lines:
        named = {name.decode() for name in JOB_ID.findall(line)} & found.keys()
        for job_id in named or job_ids:
            found[job_id].append(line)
    return found
