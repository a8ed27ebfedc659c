"""Commit checkpoints of an attempt's jobs, in either phase, and act on the jobs' resulting states."""

from __future__ import annotations

from collections.abc import Sequence

from service.store import commits, runs
from service.store.attempts import Attempt
from service.store.commits import CheckpointCommit, Committed
from service.store.outages import retry_while_unreachable
from service.training.context import WorkerContext


def commit_all(
    context: WorkerContext, attempt: Attempt, checkpoint_commits: Sequence[CheckpointCommit], before_us: int = 0
) -> list[Committed]:
    """Commit by `commits.commit_checkpoints`; end cancelled jobs, and delete files that no row points to.

    Waits while the database is out of reach. Raises `Fenced`.
    """
    context.fault_hook("commit")
    results = retry_while_unreachable(
        lambda: commits.commit_checkpoints(context.engine, attempt, checkpoint_commits, before_us)
    )
    for committed, of_job in zip(results, checkpoint_commits, strict=True):
        if committed.state == "cancelling":
            # Cancelled since the monitor's last query; after the last epoch nothing else would end the job.
            _end_cancelled(context, attempt, of_job.job_id)
        for path in committed.unused_paths:
            context.artifacts.delete(path)
    return results


def _end_cancelled(context: WorkerContext, attempt: Attempt, job_id: str) -> None:
    retry_while_unreachable(lambda: runs.end_job(context.engine, attempt, job_id, "cancelled"))
