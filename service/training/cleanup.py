"""What is swept up now and then: orphan files, files of deleted jobs, old checkpoints, keys and queue entries.

Only files of jobs that the database knows, or knows to be deleted, are touched: a database that was restored from a
copy, or is another one, must not cost the checkpoints of a folder. `fanin doctor` tells of the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from service.artifacts import JOBS, Artifacts, attempt_folder, job_folder
from service.store import checkpoints, idempotency
from service.store.checkpoints import JobFiles

log = logging.getLogger(__name__)

FIRST_AFTER_S = 60.0
INTERVAL_S = 3600.0


class Swept(NamedTuple):
    """How much was swept up."""

    orphan_files: int
    deleted_jobs: int
    old_checkpoints: int
    old_keys: int
    queue_entries: int


class Sweep:
    """Sweeps every hour, in a thread, as long as the process lives. Several may sweep at once."""

    def __init__(
        self,
        engine: Engine,
        artifacts: Artifacts,
        checkpoints_kept: int | None,
        forget_ended: Callable[[Engine], int] = lambda _engine: 0,
    ) -> None:
        """`forget_ended` deletes what the queue still keeps of ended runs, and says how much it was."""
        self._engine = engine
        self._artifacts = artifacts
        self._checkpoints_kept = checkpoints_kept
        self._forget_ended = forget_ended

    def start(self) -> None:
        """Begin in a minute, and go on every hour."""
        threading.Thread(target=self._run, name="sweep", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        pause.wait(FIRST_AFTER_S)
        while True:
            try:
                swept = self.sweep()
                if any(swept):
                    log.info("swept up: %s", swept)
            except (SQLAlchemyError, OSError) as error:
                log.warning("not swept: %s", error)
            pause.wait(INTERVAL_S)

    def sweep(self) -> Swept:
        """Sweep once and return how much there was."""
        old = 0
        if self._checkpoints_kept is not None:
            for path in checkpoints.trim_ended_jobs(self._engine, self._checkpoints_kept):
                self._artifacts.delete(path)
                old += path.endswith(".weights.safetensors")
        orphans = deleted = 0
        for job_id in self._artifacts.list_folders(JOBS):
            # Listed before the rows are read: a file that gets its row in between is not taken for an orphan.
            listed = self._artifacts.list_below(job_folder(job_id))
            files = checkpoints.files_of_job(self._engine, job_id)
            if files.is_deleted:
                self._artifacts.delete_below(job_folder(job_id))
                deleted += 1
            for path in _orphans(job_id, listed, files):
                self._artifacts.delete(path)
                orphans += 1
        keys, entries = idempotency.forget_old_keys(self._engine), self._forget_ended(self._engine)
        return Swept(orphans, deleted, old, keys, entries)


def _orphans(job_id: str, listed: list[str], files: JobFiles) -> list[str]:
    """Return the files that no row points to, and that no living attempt may be about to commit."""
    if not files.is_known:
        return []
    orphans = [path for path in listed if path not in files.paths]
    if not files.is_open:
        return orphans
    being_written = attempt_folder(job_id, files.run_id, files.attempt) + "/"
    return [path for path in orphans if not path.startswith(being_written)]
