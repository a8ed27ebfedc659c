"""Commit checkpoints of jobs with the records of their epochs, and forget old ones; each write is fenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select, update

from service.store.attempts import Attempt, close_run_if_done, fence, job_of_attempt, leave_job
from service.store.checkpoints import CheckpointRow, NewCheckpoint, checkpoints_of, is_aliased
from service.store.engine import now, writing
from service.store.epoch_records import EpochRecords, forget_epochs_of_job_after, insert_records
from service.store.events import EventType, append_event
from service.store.file_hold import files_are_held
from service.store.jobs import JobState
from service.store.outcomes import outcome_in
from service.store.tables import checkpoints, jobs, pretrain_epochs
from service.store.work_counts import Work, add_work

ALL_DONE = {"percent": 100.0, "time_left_s": 0.0}
"""The progress of a job that has ended, in fewer epochs than expected if it ran out of patience."""


class Committed(NamedTuple):
    """The result of a commit: the job's state, whether the checkpoint is kept, and the files without a row."""

    state: JobState
    is_kept: bool
    unused_paths: list[str]
    is_new: bool = False
    """Whether this transaction has stored it, and not one before whose answer was lost."""


@dataclass(frozen=True)
class CheckpointCommit:
    """A checkpoint of a job, whose files are written, with the records and the progress to commit with it.

    The last `resume_files_kept` optimizer states are kept, and the last `checkpoints_kept` checkpoints (None: all).
    """

    attempt: Attempt
    job_id: str
    checkpoint: NewCheckpoint
    records: EpochRecords
    progress: dict[str, Any] | None = None
    resume_files_kept: int = 0
    checkpoints_kept: int | None = None


def commit_checkpoints(
    engine: Engine, attempt: Attempt, commits: Sequence[CheckpointCommit], before_us: int = 0
) -> list[Committed]:
    """Commit checkpoints of an attempt's jobs, one each, with their records: all in one transaction.

    A job whose checkpoint is final ends, and one that is to pause is paused. Nothing is committed of a job that no
    longer runs, because it is being cancelled. Committing the same files again changes nothing, so that a commit whose
    answer was lost may be repeated. `before_us` are the microseconds that the commit before took. Raises `Fenced` if a
    newer attempt has begun.
    """
    with writing(engine) as connection:
        fence(connection, attempt, attempts_without_checkpoint=0)
        results = [_commit_checkpoint(connection, commit) for commit in commits]
        _count_work(connection, commits, results, before_us)
        return results


def _count_work(
    connection: Connection, commits: Sequence[CheckpointCommit], results: Sequence[Committed], before_us: int
) -> None:
    new = [commit for commit, committed in zip(commits, results, strict=True) if committed.is_new]
    if not new:
        return
    epochs = [metrics for commit in new for metrics in commit.records.epochs]
    work: dict[Work, int] = {
        "epochs": len(epochs),
        "epoch_us": round(1e6 * sum(metrics.duration_s for metrics in epochs)),
        "images": round(sum(metrics.duration_s * metrics.images_per_s for metrics in epochs)),
        "commits": 1,
        "commit_us": before_us,
    }
    add_work(connection, work)


def _commit_checkpoint(connection: Connection, commit: CheckpointCommit) -> Committed:
    attempt, job_id, checkpoint = commit.attempt, commit.job_id, commit.checkpoint
    of_job = select(jobs.c.state).where(*job_of_attempt(attempt, job_id))
    state: JobState | None = connection.execute(of_job).scalar()
    newest = _newest_checkpoint(connection, job_id)
    if newest is not None and newest.weights_path == checkpoint.weights_path:
        return Committed(state or "cancelled", is_kept=True, unused_paths=[])
    if state not in {"running", "pausing"}:
        paths = [path for path in (checkpoint.weights_path, checkpoint.resume_path) if path]
        return Committed(state or "cancelled", is_kept=False, unused_paths=paths)
    _update_job(connection, commit)
    insert_records(connection, attempt, job_id, commit.records)
    unused = _drop_same_epoch(connection, commit)
    _insert_checkpoint(connection, commit, seq=0 if newest is None else newest.seq + 1)
    unused += _trim(connection, commit)
    if checkpoint.final:
        unused += _forget_pretraining(connection, job_id)
    left_in = _leave_if_over(connection, commit, state)
    # Files that a backup may be copying are left to the sweep.
    unused = [] if files_are_held(connection) else unused
    return Committed(left_in, is_kept=True, unused_paths=unused, is_new=True)


def _update_job(connection: Connection, commit: CheckpointCommit) -> None:
    values: dict[str, Any] = {"epoch": commit.checkpoint.epoch} if commit.checkpoint.phase == "train" else {}
    if commit.progress:
        values["progress"] = commit.progress | (ALL_DONE if commit.checkpoint.final else {})
    if values:
        connection.execute(update(jobs).where(jobs.c.id == commit.job_id).values(**values))


def _leave_if_over(connection: Connection, commit: CheckpointCommit, state: JobState) -> JobState:
    """End a job whose checkpoint is its last, pause one that is to be paused, and return its state."""
    evaluation = commit.records.evaluation
    if commit.checkpoint.final:
        fields = {"accuracy", "evaluated_on", "n"}
        summary = evaluation.model_dump(mode="json", include=fields) if evaluation else {}
        outcome = outcome_in(connection, commit.job_id)
        summary |= {"outcome": outcome.model_dump()} if outcome else {}
        leave_job(connection, commit.job_id, "succeeded", **summary)
        if evaluation:
            change = update(jobs).where(jobs.c.id == commit.job_id)
            connection.execute(change.values(accuracy=evaluation.accuracy))
    elif state == "pausing":
        leave_job(connection, commit.job_id, "paused")
    else:
        return "running"
    close_run_if_done(connection, commit.attempt.run_id)
    return "succeeded" if commit.checkpoint.final else "paused"


def _newest_checkpoint(connection: Connection, job_id: str) -> Any:
    """Return seq and weights_path of a job's newest checkpoint, or None; a repeated commit would be this one."""
    of_job = select(checkpoints.c.seq, checkpoints.c.weights_path).where(checkpoints.c.job_id == job_id)
    return connection.execute(of_job.order_by(checkpoints.c.seq.desc()).limit(1)).one_or_none()


def _insert_checkpoint(connection: Connection, commit: CheckpointCommit, seq: int) -> None:
    attempt, checkpoint, evaluation = commit.attempt, commit.checkpoint, commit.records.evaluation
    connection.execute(
        insert(checkpoints).values(
            job_id=commit.job_id,
            seq=seq,
            run_id=attempt.run_id,
            attempt=attempt.number,
            created_at=now(),
            evaluation=evaluation.model_dump(mode="json") if evaluation else None,
            **vars(checkpoint),
        )
    )
    data = {name: getattr(checkpoint, name) for name in ("phase", "epoch", "final")}
    append_event(connection, commit.job_id, "job.checkpoint", **data, seq=seq, attempt=attempt.number)


def _drop_same_epoch(connection: Connection, commit: CheckpointCommit) -> list[str]:
    """Drop the row of this epoch that an attempt left without its optimizer state, unless an alias names it."""
    same = (
        checkpoints.c.job_id == commit.job_id,
        checkpoints.c.phase == commit.checkpoint.phase,
        checkpoints.c.epoch == commit.checkpoint.epoch,
        ~is_aliased(),
    )
    paths = connection.execute(select(checkpoints.c.weights_path, checkpoints.c.resume_path).where(*same)).all()
    if paths:
        connection.execute(delete(checkpoints).where(*same))
    return [path for pair in paths for path in pair if path]


def _trim(connection: Connection, commit: CheckpointCommit) -> list[str]:
    """Drop old checkpoints and old optimizer states from the rows; return their paths, for the caller to delete."""
    of_job = checkpoints.c.job_id == commit.job_id
    columns = select(checkpoints.c.seq, checkpoints.c.weights_path, checkpoints.c.resume_path)
    of_phase = columns.where(of_job, checkpoints.c.phase == commit.checkpoint.phase)
    newest_first = of_phase.order_by(checkpoints.c.seq.desc())
    gone = []
    if commit.checkpoints_kept is not None:
        unnamed = newest_first.where(~is_aliased())
        gone = list(connection.execute(unnamed.offset(commit.checkpoints_kept)).all())
        connection.execute(delete(checkpoints).where(of_job, checkpoints.c.seq.in_([row.seq for row in gone])))
    with_resume = newest_first.where(checkpoints.c.resume_path.is_not(None))
    resume_files_kept = 0 if commit.checkpoint.final else commit.resume_files_kept  # nothing goes on from the end
    bare = connection.execute(with_resume.offset(resume_files_kept)).all()
    if bare:
        connection.execute(
            update(checkpoints)
            .where(of_job, checkpoints.c.seq.in_([row.seq for row in bare]))
            .values(resume_path=None, resume_file_sha256=None)
        )
    paths = [row.weights_path for row in gone] + [row.resume_path for row in (*gone, *bare)]
    return [path for path in paths if path]


def _forget_pretraining(connection: Connection, job_id: str) -> list[str]:
    """Delete the rows of pre-training checkpoints but the last, and return their paths.

    No attempt will need them any more. The last one holds the machines, which can generate images.
    """
    of_phase = (checkpoints.c.job_id == job_id, checkpoints.c.phase == "pretrain")
    query = select(checkpoints.c.seq, checkpoints.c.weights_path).where(*of_phase).order_by(checkpoints.c.seq.desc())
    old = connection.execute(query.offset(1)).all()
    connection.execute(delete(checkpoints).where(*of_phase, checkpoints.c.seq.in_([row.seq for row in old])))
    return [row.weights_path for row in old]


def forget_resume(engine: Engine, attempt: Attempt, row: CheckpointRow, reason: str) -> None:
    """Note that a checkpoint has lost its optimizer state: only its weights stay. Raises `Fenced`."""
    with writing(engine) as connection:
        fence(connection, attempt)
        of_row = (checkpoints.c.job_id == row.job_id, checkpoints.c.seq == row.seq)
        connection.execute(update(checkpoints).where(*of_row).values(resume_path=None, resume_file_sha256=None))
        data = {"seq": row.seq, "epoch": row.epoch, "reason": reason, "weights": "kept"}
        append_event(connection, row.job_id, "job.checkpoint_damaged", **data)


def discard_checkpoint(
    engine: Engine, attempt: Attempt, row: CheckpointRow, reason: str, event: EventType = "job.checkpoint_damaged"
) -> None:
    """Delete a checkpoint's row and the epochs after the one before it, and append an event. Raises `Fenced`.

    A row that an alias names stays: its file may come back from a backup, and until then the alias says what is wrong.
    """
    with writing(engine) as connection:
        fence(connection, attempt)
        of_row = (checkpoints.c.job_id == row.job_id, checkpoints.c.seq == row.seq)
        connection.execute(delete(checkpoints).where(*of_row, ~is_aliased()))
        left = checkpoints_of(connection, row.job_id, row.phase)
        kept = left[-1].epoch if left else -1
        if row.phase == "pretrain":
            lost = (pretrain_epochs.c.job_id == row.job_id, pretrain_epochs.c.number > kept)
            connection.execute(delete(pretrain_epochs).where(*lost))
        else:
            forget_epochs_of_job_after(connection, row.job_id, kept)
        append_event(connection, row.job_id, event, seq=row.seq, epoch=row.epoch, reason=reason)
