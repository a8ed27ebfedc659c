"""Commit a checkpoint of one job, of whichever phase, and do what follows from what became of it."""

from __future__ import annotations

from service.store import commits, runs
from service.store.commits import CheckpointCommit, Committed
from service.store.engine import retry_while_unreachable
from service.training.context import WorkerContext


def commit(context: WorkerContext, checkpoint_commit: CheckpointCommit) -> Committed:
    """Commit, see `commits.commit_checkpoint`; end a job that was cancelled, delete files that no row points to.

    Waits while the database is out of reach. Raises `Fenced`.
    """
    context.fault_hook("commit")
    committed = retry_while_unreachable(lambda: commits.commit_checkpoint(context.engine, checkpoint_commit))
    if committed.state == "cancelling":
        # Its owner cancelled it since the monitor last asked; after the last epoch nothing else would end it.
        attempt, job_id = checkpoint_commit.attempt, checkpoint_commit.job_id
        retry_while_unreachable(lambda: runs.end_job(context.engine, attempt, job_id, "cancelled"))
    for path in committed.unused_paths:
        context.artifacts.delete(path)
    return committed
