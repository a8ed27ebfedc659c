"""Commit a checkpoint of one job, in either phase, and act on the job's resulting state."""

from __future__ import annotations

from service.store import commits, runs
from service.store.commits import CheckpointCommit, Committed
from service.store.outages import retry_while_unreachable
from service.training.context import WorkerContext


def commit(context: WorkerContext, checkpoint_commit: CheckpointCommit) -> Committed:
    """Commit by `commits.commit_checkpoint`; end a cancelled job, and delete files that no row points to.

    Waits while the database is out of reach. Raises `Fenced`.
    """
    context.fault_hook("commit")
    committed = retry_while_unreachable(lambda: commits.commit_checkpoint(context.engine, checkpoint_commit))
    if committed.state == "cancelling":
        # Cancelled since the monitor's last query; after the last epoch nothing else would end the job.
        attempt, job_id = checkpoint_commit.attempt, checkpoint_commit.job_id
        retry_while_unreachable(lambda: runs.end_job(context.engine, attempt, job_id, "cancelled"))
    for path in committed.unused_paths:
        context.artifacts.delete(path)
    return committed
