"""The name of a worker, which one living process has at a time.

The queue knows a worker by its name: a process takes up the runs that were delivered under its name. Two living
processes of one name would take each other's runs for abandoned, over and over. So a process has a random instance id
under its name, and takes the name only if no living process has it. If the last process of this name has left its lock
on this machine, that is certain at once. Otherwise the heartbeats of the name are watched: if they stand still, the
name is free, and if they advance, it is taken.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Engine

from service.errors import NameTaken
from service.store import workers
from service.store.workers import NewBeat, WorkerRow
from service.training.heartbeat import BEATS_A_LIFETIME

log = logging.getLogger(__name__)

STARTING = ".starting"
LOOK_INTERVAL_S = 0.1
BEATS_OF_THE_LIVING = 2
PATIENCE = 1.5
"""Multiple of two beats' time for which the heartbeats of a silent instance are watched."""


class WorkerName:
    """The name, the instance and the lock of one worker process."""

    def __init__(self, engine: Engine, folder: Path, node: str, slot: str, ttl_s: float) -> None:
        """`folder` holds the locks of this machine; after `ttl_s` without a heartbeat a name is free."""
        self._engine = engine
        self._folder = folder
        self._node = node
        self._slot = slot
        self._watch_s = PATIENCE * BEATS_OF_THE_LIVING * ttl_s / BEATS_A_LIFETIME
        self._ttl_s = ttl_s
        self._lock: FileLock | None = None
        self.instance = secrets.token_hex(8)

    @property
    def name(self) -> str:
        """Return the name, as node:slot."""
        return f"{self._node}:{self._slot}"

    def claim(self, beat_of: Callable[[], NewBeat], *, is_chosen: bool) -> None:
        """Return when this process has its name, and its first heartbeat is written.

        If a living process has the name: raises `NameTaken` if somebody chose the name (`is_chosen`), else tries the
        name of the node with a random suffix, as a replica of a container needs.
        """
        while True:
            try:
                self._claim(beat_of)
            except NameTaken:
                if is_chosen:
                    raise
                self._node = f"{self._node[:50]}-{secrets.token_hex(3)}"
                log.info("another worker has the name; this one is %s", self.name)
            else:
                return

    def _claim(self, beat_of: Callable[[], NewBeat]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / f"{self._node}-{self._slot}.lock")
        stood_since, heard, advances = time.monotonic(), None, 0
        while True:
            has_lock = lock.is_locked or _acquired(lock)
            row = workers.find(self._engine, self.name)
            if row is not None and not row.leaving and heard is not None and row.beat_at != heard:
                advances += 1
                if advances >= BEATS_OF_THE_LIVING:
                    lock.release()
                    raise NameTaken(
                        f"A living worker has the name {self.name} already (process {row.process_id}). "
                        f"Slot {self._slot} is in use by another process.",
                        "Stop the other one, or set another FANIN_NODE.",
                    )
            if row is not None and row.beat_at != heard:
                heard, stood_since = row.beat_at, time.monotonic()
            if self._is_free(row, has_lock=has_lock, still_s=time.monotonic() - stood_since):
                taken = replace(beat_of(), name=self.name, instance=self.instance)
                if workers.take_name(self._engine, taken, None if row is None else row.instance):
                    break
            time.sleep(LOOK_INTERVAL_S)
        if has_lock:
            self._lock = lock  # keeps the lock until the process ends
            self._last_holder.write_text(self.instance)

    @property
    def _last_holder(self) -> Path:
        return self._folder / f"{self._node}-{self._slot}.instance"

    def _is_free(self, row: WorkerRow | None, *, has_lock: bool, still_s: float) -> bool:
        """Return whether no living process has the name; `still_s` is how long this one has seen no heartbeat of it."""
        if has_lock and (row is None or row.instance == self._instance_of_last_holder()):
            return True  # the process that had the lock on this machine has ended
        if row is None:
            return still_s > self._ttl_s  # the holder of the lock never began to beat
        return not row.is_live(self._ttl_s) and still_s > self._watch_s

    def _instance_of_last_holder(self) -> str:
        try:
            return self._last_holder.read_text()
        except FileNotFoundError:
            return ""


@contextmanager
def starting(folder: Path, slot: str) -> Iterator[None]:
    """Hold a lock while a worker waits for what it needs before it takes its name: `fanin health` looks at it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{slot}{STARTING}")
    _acquired(lock)
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
