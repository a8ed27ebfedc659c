"""Commit a checkpoint of one job, of whichever phase, and do what follows from what became of it."""

from __future__ import annotations

from typing import Any

from service.store import runs
from service.store.checkpoints import NewCheckpoint
from service.store.runs import Attempt, Committed, Made
from service.training.context import Surroundings, persistently


def commit(
    around: Surroundings,
    attempt: Attempt,
    job_id: str,
    checkpoint: NewCheckpoint,
    made: Made,
    progress: dict[str, Any] | None,
    *,
    resume_files_kept: int,
    checkpoints_kept: int | None,
) -> Committed:
    """Commit, see `runs.commit_checkpoint`; make a cancelled job's end final, delete the files that no row points to.

    Waits for a database that is away. Raises `Fenced`.
    """
    committed = persistently(
        lambda: runs.commit_checkpoint(
            around.engine,
            attempt,
            job_id,
            checkpoint,
            made,
            progress,
            resume_files_kept=resume_files_kept,
            checkpoints_kept=checkpoints_kept,
        )
    )
    if committed.state == "cancelling":
        # Its owner cancelled it since the watch last looked; after the last epoch nobody else would say so.
        persistently(lambda: runs.end_job(around.engine, attempt, job_id, "cancelled"))
    for path in committed.unused_paths:
        around.artifacts.delete(path)
    return committed
