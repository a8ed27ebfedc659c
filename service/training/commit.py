"""Commit a checkpoint of one job, of whichever phase, and do what follows from what became of it."""

from __future__ import annotations

from typing import Any

from service.store import runs
from service.store.checkpoints import NewCheckpoint
from service.store.engine import retry_while_unreachable
from service.store.runs import Attempt, Committed, EpochRecords
from service.training.context import WorkerContext


def commit(
    context: WorkerContext,
    attempt: Attempt,
    job_id: str,
    checkpoint: NewCheckpoint,
    records: EpochRecords,
    progress: dict[str, Any] | None,
    *,
    resume_files_kept: int,
    checkpoints_kept: int | None,
) -> Committed:
    """Commit, see `runs.commit_checkpoint`; make a cancelled job's end final, delete the files that no row points to.

    Waits for a database that is away. Raises `Fenced`.
    """
    committed = retry_while_unreachable(
        lambda: runs.commit_checkpoint(
            context.engine,
            attempt,
            job_id,
            checkpoint,
            records,
            progress,
            resume_files_kept=resume_files_kept,
            checkpoints_kept=checkpoints_kept,
        )
    )
    if committed.state == "cancelling":
        # Its owner cancelled it since the monitor last looked; after the last epoch nobody else would say so.
        retry_while_unreachable(lambda: runs.end_job(context.engine, attempt, job_id, "cancelled"))
    for path in committed.unused_paths:
        context.artifacts.delete(path)
    return committed
