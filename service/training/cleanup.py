"""The hourly sweep: orphan files, files of deleted jobs, old checkpoints, old keys and old queue entries.

It deletes only files of jobs that the database contains or lists as deleted. Otherwise a restored backup or the wrong
database would cost the folder its checkpoints. `fanin doctor` reports the files of unknown jobs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Engine

from service.artifacts.layout import JOBS, attempt_prefix, is_log, job_folder
from service.artifacts.store import Artifacts
from service.errors import IllegalTransition, ModelInUse, NotFound
from service.store import checkpoints, idempotency
from service.store.checkpoints import JobFiles
from service.store.file_hold import files_are_held
from service.store.job_transitions import delete_job
from service.store.jobs import ENDED
from service.store.retention import Retention, expired_jobs
from service.store.space import give_back

log = logging.getLogger(__name__)

FIRST_AFTER_S = 60.0
INTERVAL_S = 3600.0


class Swept(NamedTuple):
    """How many items a sweep deleted, by kind."""

    orphan_files: int
    deleted_jobs: int
    old_checkpoints: int
    old_keys: int
    queue_entries: int
    expired_jobs: int


class Sweep:
    """Sweeps every hour in a daemon thread. Several processes may sweep concurrently."""

    def __init__(
        self,
        engine: Engine,
        artifacts: Artifacts,
        checkpoints_kept: int | None,
        forget_ended: Callable[[Engine], int] = lambda _engine: 0,
        retention: Retention | None = None,
    ) -> None:
        """`forget_ended` deletes the queue's entries of ended runs and returns their number."""
        self._engine = engine
        self._artifacts = artifacts
        self._checkpoints_kept = checkpoints_kept
        self._forget_ended = forget_ended
        self._retention = retention or Retention()

    def start(self) -> None:
        """Start the thread: the first sweep is after a minute, then one every hour."""
        threading.Thread(target=self._run, name="sweep", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        pause.wait(FIRST_AFTER_S)
        while True:
            try:
                swept = self.sweep()
                if any(swept):
                    log.info("swept up: %s", swept)
            except Exception:  # the next sweep may find what failed in order; without this thread there is none
                log.exception("sweep failed")
            pause.wait(INTERVAL_S)

    def sweep(self) -> Swept:
        """Sweep once and return how much was deleted; nothing while a backup copies files."""
        if self._files_are_held():
            return Swept(0, 0, 0, 0, 0, 0)
        expired, old = self._delete_expired(), 0
        if self._checkpoints_kept is not None:
            for path in checkpoints.trim_ended_jobs(self._engine, self._checkpoints_kept):
                self._artifacts.delete(path)
                old += path.endswith(".weights.safetensors")
        orphans = deleted = 0
        for job_id in self._artifacts.list_folders(JOBS):
            # Listed before the rows are read: a file that gets its row in between is not taken for an orphan.
            listed = self._artifacts.list_below(job_folder(job_id))
            files = checkpoints.files_of_job(self._engine, job_id)
            if self._files_are_held():
                break
            if files.is_deleted:
                self._artifacts.delete_below(job_folder(job_id))
                deleted += 1
            for path in _orphans(job_id, listed, files):
                self._artifacts.delete(path)
                orphans += 1
        keys, entries = idempotency.forget_old_keys(self._engine), self._forget_ended(self._engine)
        give_back(self._engine)
        return Swept(orphans, deleted, old, keys, entries, expired)

    def _files_are_held(self) -> bool:
        with self._engine.connect() as connection:
            return files_are_held(connection)

    def _delete_expired(self) -> int:
        """Delete the ended jobs that are no longer kept, and return how many there were."""
        count = 0
        while True:
            deleted = 0
            for job_id in expired_jobs(self._engine, self._retention):
                with suppress(NotFound, ModelInUse, IllegalTransition):  # a client was quicker
                    if delete_job(self._engine, job_id, ENDED):
                        self._artifacts.delete_below(job_folder(job_id))
                    deleted += 1
            count += deleted
            if deleted == 0:
                return count


def _orphans(job_id: str, listed: list[str], files: JobFiles) -> list[str]:
    """Return the files that no row points to and that no current attempt can still commit."""
    if not files.is_known:
        return []
    orphans = [path for path in listed if path not in files.paths and not is_log(path)]
    if not files.is_open:
        return orphans
    being_written = attempt_prefix(job_id, files.run_id, files.attempt)
    return [path for path in orphans if not path.startswith(being_written)]
