"""Runs as a worker sees them: take an attempt, commit epochs, end jobs. Every write is fenced by the attempt.

A worker that was stopped and continued, or whose run was handed on, holds an old attempt number: its writes
match no row, raise `Fenced`, and change nothing. A job that has been given a new run (resumed, retried) is out of
reach of its old one. Whoever writes locks the run's row first, then the job's, then the counter of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics, EvaluationRecord, PretrainMetrics
from models.spec import TrainSpec
from service.errors import Fenced, NotFound
from service.store.checkpoints import CheckpointRow, NewCheckpoint, Phase, checkpoints_of, is_aliased
from service.store.engine import now, writing
from service.store.events import EventType, append_event
from service.store.jobs import EVENT_OF, JobState
from service.store.tables import checkpoints, diagnostics, epochs, jobs, pretrain_epochs, runs

SETTLED_STATE: dict[JobState, JobState] = {"cancelling": "cancelled", "pausing": "paused"}
"""What a job becomes when its owner's wish is granted."""

OPEN_STATES = ("queued", "running", "cancelling", "pausing")


@dataclass(frozen=True)
class Member:
    """One job of a run, as the worker takes it up."""

    job_id: str
    state: JobState
    spec: TrainSpec


@dataclass(frozen=True)
class Attempt:
    """One try of a worker's process at a run; `previous` says how the one before ended, if it was not told to stop."""

    run_id: str
    number: int
    attempts_without_checkpoint: int
    pins: dict[str, Any] | None
    members: tuple[Member, ...]
    previous: dict[str, Any] | None = None
    worker: str = ""
    process_id: int = 0


class EpochRecords(NamedTuple):
    """What came with a checkpoint: the metrics of its epochs, the look at its layers, the judgement of the last one."""

    epochs: Sequence[EpochMetrics] = ()
    pretraining: PretrainMetrics | None = None
    diagnostics: Diagnostics | None = None
    evaluation: EvaluationRecord | None = None


class Committed(NamedTuple):
    """What became of a checkpoint: the state of its job, and the files that no row points to any more."""

    state: JobState
    is_kept: bool
    unused_paths: list[str]


def begin_attempt(engine: Engine, run_id: str, worker: str, process_id: int = 0) -> Attempt:
    """Count a new attempt at a run and return it with those jobs that have not ended.

    Older attempts can commit nothing from here on. Jobs that are being cancelled or paused are so now. Raises
    `NotFound`.
    """
    with writing(engine) as connection:
        run = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update()).one_or_none()
        if run is None:
            raise NotFound(f"There is no run {run_id!r}.")
        number, barren = run.attempt + 1, run.attempts_without_checkpoint + 1
        connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(attempt=number, attempts_without_checkpoint=barren, worker=worker, last_error=None)
        )
        _apply_pending_actions(connection, run_id)
        members = tuple(
            Member(row.id, row.state, TrainSpec.model_validate(row.spec))
            for row in connection.execute(
                select(jobs).where(jobs.c.run_id == run_id, jobs.c.state.in_(["queued", "running"])).order_by(jobs.c.id)
            )
        )
        close_run_if_done(connection, run_id)
        previous = _end_of_previous(run.attempt, run.worker, run)
        return Attempt(run_id, number, barren, run.pins, members, previous, worker, process_id)


def _end_of_previous(number: int, worker: str | None, run: Any) -> dict[str, Any] | None:
    if worker is None:  # the first attempt, or the one before was asked to stop
        return None
    silent = {"type": "worker-died", "detail": "It ended without a word: killed, or out of memory."}
    return {"attempt": number, "worker": worker} | (run.last_error or silent)


def start_jobs(engine: Engine, attempt: Attempt, pins: dict[str, Any], irreproducible_reason: str | None) -> None:
    """Mark the jobs of an attempt as running, under `pins`: what must not change between attempts."""
    with writing(engine) as connection:
        _fence(connection, attempt, pins=pins)
        for member in attempt.members:
            values: dict[str, Any] = {"state": "running"}
            if member.state == "queued":
                values["started_at"] = func.coalesce(jobs.c.started_at, now())
            if irreproducible_reason:
                values |= {"reproducible": False, "irreproducible_reason": irreproducible_reason}
            change = update(jobs).where(*_own(attempt, member.job_id), jobs.c.state == member.state).values(**values)
            if connection.execute(change).rowcount == 1:
                said: dict[str, Any] = {"worker": attempt.worker, "process_id": attempt.process_id, **pins}
                if attempt.previous:
                    said["previous_attempt"] = attempt.previous
                append_event(connection, member.job_id, "job.running", attempt=attempt.number, **said)


def uncount_attempt(engine: Engine, attempt: Attempt) -> None:
    """Let an attempt that was asked to stop not count among those that died. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt, attempts_without_checkpoint=runs.c.attempts_without_checkpoint - 1, worker=None)


def note_error(engine: Engine, attempt: Attempt, error: dict[str, Any]) -> None:
    """Keep why an attempt ends before its jobs do, for the next attempt to tell. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt, last_error=error)


def report_progress(engine: Engine, attempt: Attempt, progress: dict[str, dict[str, Any]]) -> dict[str, JobState]:
    """Store how far each running job is, and return the state of every job of the run. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        for job_id, values in progress.items():
            change = update(jobs).where(*_own(attempt, job_id), jobs.c.state.in_(["running", "pausing"]))
            connection.execute(change.values(progress=values))
        states = select(jobs.c.id, jobs.c.state).where(jobs.c.run_id == attempt.run_id)
        return {row.id: row.state for row in connection.execute(states)}


def commit_checkpoint(
    engine: Engine,
    attempt: Attempt,
    job_id: str,
    checkpoint: NewCheckpoint,
    made: EpochRecords,
    progress: dict[str, Any] | None = None,
    *,
    resume_files_kept: int,
    checkpoints_kept: int | None = None,
) -> Committed:
    """Commit a checkpoint with what was `made` with it; then a final one succeeds, and a wish to pause is granted.

    All of it in one transaction, fenced: raises `Fenced` if a newer attempt has begun. Commits nothing if the job
    no longer runs, because it is being cancelled. Committing the same file again changes nothing, so a commit whose
    answer was lost may be repeated. Only the last `resume_files_kept` optimizer states are kept, and the last
    `checkpoints_kept` checkpoints (None: all).
    """
    own_paths = [path for path in (checkpoint.weights_path, checkpoint.resume_path) if path]
    with writing(engine) as connection:
        _fence(connection, attempt, attempts_without_checkpoint=0)
        state: JobState | None = connection.execute(select(jobs.c.state).where(*_own(attempt, job_id))).scalar()
        newest = _newest_checkpoint(connection, job_id)
        if newest is not None and newest.weights_path == checkpoint.weights_path:
            return Committed(state or "cancelled", is_kept=True, unused_paths=[])
        if state not in {"running", "pausing"}:
            return Committed(state or "cancelled", is_kept=False, unused_paths=own_paths)
        values: dict[str, Any] = {"epoch": checkpoint.epoch} if checkpoint.phase == "train" else {}
        values |= {"progress": progress} if progress else {}
        if values:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
        _insert_records(connection, attempt, job_id, made)
        seq = 0 if newest is None else newest.seq + 1
        _insert_checkpoint(connection, attempt, job_id, seq, checkpoint, made.evaluation)
        unused = _trim(connection, job_id, checkpoint.phase, resume_files_kept, checkpoints_kept)
        if checkpoint.final:
            unused += _forget_pretraining(connection, job_id)
            shown = {"accuracy", "evaluated_on", "n"}
            summary = made.evaluation.model_dump(mode="json", include=shown) if made.evaluation else {}
            _end_job(connection, job_id, "succeeded", **summary)
        elif state == "pausing":
            _end_job(connection, job_id, "paused")
        final_state: JobState = "succeeded" if checkpoint.final else "paused" if state == "pausing" else "running"
        if final_state != "running":
            close_run_if_done(connection, attempt.run_id)
        return Committed(final_state, is_kept=True, unused_paths=unused)


def _newest_checkpoint(connection: Connection, job_id: str) -> Any:
    """Return seq and weights_path of a job's newest checkpoint, or None; a repeated commit would be this one."""
    of_job = select(checkpoints.c.seq, checkpoints.c.weights_path).where(checkpoints.c.job_id == job_id)
    return connection.execute(of_job.order_by(checkpoints.c.seq.desc()).limit(1)).one_or_none()


def _insert_checkpoint(
    connection: Connection,
    attempt: Attempt,
    job_id: str,
    seq: int,
    checkpoint: NewCheckpoint,
    evaluation: EvaluationRecord | None,
) -> None:
    connection.execute(
        insert(checkpoints).values(
            job_id=job_id,
            seq=seq,
            run_id=attempt.run_id,
            attempt=attempt.number,
            created_at=now(),
            evaluation=evaluation.model_dump(mode="json") if evaluation else None,
            **vars(checkpoint),
        )
    )
    said = {name: getattr(checkpoint, name) for name in ("phase", "epoch", "final")}
    said |= {"seq": seq, "attempt": attempt.number}
    append_event(connection, job_id, "job.checkpoint", **said)


def _insert_records(connection: Connection, attempt: Attempt, job_id: str, made: EpochRecords) -> None:
    for one in made.epochs:
        values = one.model_dump(mode="json")
        connection.execute(
            insert(epochs).values(
                job_id=job_id, epoch=one.epoch, run_id=attempt.run_id, attempt=attempt.number, metrics=values
            )
        )
        append_event(connection, job_id, "job.epoch", **one.model_dump(mode="json", exclude_none=True))
    if made.pretraining is not None:
        values = made.pretraining.model_dump(mode="json")
        connection.execute(insert(pretrain_epochs).values(job_id=job_id, number=values["number"], metrics=values))
        append_event(connection, job_id, "job.pretrain_epoch", **values)
    if made.diagnostics is not None:
        values = made.diagnostics.model_dump(mode="json")
        connection.execute(insert(diagnostics).values(job_id=job_id, epoch=values["epoch"], data=values))


def _trim(
    connection: Connection, job_id: str, phase: Phase, resume_files_kept: int, checkpoints_kept: int | None
) -> list[str]:
    """Forget old checkpoints and old optimizer states, and return their paths, which may be deleted afterwards."""
    of_job = checkpoints.c.job_id == job_id
    columns = select(checkpoints.c.seq, checkpoints.c.weights_path, checkpoints.c.resume_path)
    newest_first = columns.where(of_job, checkpoints.c.phase == phase).order_by(checkpoints.c.seq.desc())
    may_go = newest_first.where(~is_aliased())
    gone = [] if checkpoints_kept is None else connection.execute(may_go.offset(checkpoints_kept)).all()
    if gone:
        connection.execute(delete(checkpoints).where(of_job, checkpoints.c.seq.in_([row.seq for row in gone])))
    with_resume = newest_first.where(checkpoints.c.resume_path.is_not(None))
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
    """Forget the checkpoints of pre-training, which no attempt will go on from any more, and return their paths."""
    of_phase = (checkpoints.c.job_id == job_id, checkpoints.c.phase == "pretrain")
    paths = list(connection.execute(select(checkpoints.c.weights_path).where(*of_phase)).scalars())
    connection.execute(delete(checkpoints).where(*of_phase))
    return paths


def end_job(
    engine: Engine,
    attempt: Attempt,
    job_id: str,
    state: JobState,
    error: dict[str, Any] | None = None,
    last_epochs: Sequence[EpochMetrics] = (),
) -> None:
    """End a job as cancelled, or as failed with the reason and what was found since its checkpoint. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        found: JobState | None = connection.execute(select(jobs.c.state).where(*_own(attempt, job_id))).scalar()
        if found == "cancelling":  # the wish of its owner comes first, also if the job has failed meanwhile
            _end_job(connection, job_id, "cancelled", attempt=attempt.number)
        elif state == "failed" and found in {"queued", "running", "pausing"}:
            _insert_records(connection, attempt, job_id, EpochRecords(last_epochs))
            _end_job(connection, job_id, "failed", error)
        close_run_if_done(connection, attempt.run_id)


def forget_epochs_after(engine: Engine, attempt: Attempt, epoch: int) -> None:
    """Forget what earlier attempts found after an epoch, since this one trains them anew. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        for member in attempt.members:
            _forget_epochs_after(connection, member.job_id, epoch)


def _forget_epochs_after(connection: Connection, job_id: str, epoch: int) -> None:
    for table in (epochs, diagnostics):
        connection.execute(delete(table).where(table.c.job_id == job_id, table.c.epoch > epoch))


def report_released(engine: Engine, attempt: Attempt, **data: object) -> None:
    """Tell for each job of a run that was cancelled on a worker that nothing of it is left on the device."""
    with writing(engine) as connection:
        for job_id in _members(connection, attempt.run_id, ["cancelled"]):
            append_event(connection, job_id, "job.released", attempt=attempt.number, **data)


def apply_pending_actions_of(engine: Engine, workers: Sequence[str]) -> None:
    """Cancel and pause what the owners of dead workers' jobs have asked for: no attempt will come to do it soon."""
    with writing(engine) as connection:
        of_workers = select(runs.c.id).where(runs.c.ended_at.is_(None), runs.c.worker.in_(workers))
        for run_id in list(connection.execute(of_workers).scalars()):
            hold_run(connection, run_id)
            _apply_pending_actions(connection, run_id)
            close_run_if_done(connection, run_id)


def _apply_pending_actions(connection: Connection, run_id: str) -> None:
    for asked, granted in SETTLED_STATE.items():
        for job_id in _members(connection, run_id, [asked]):
            _end_job(connection, job_id, granted)


def discard_checkpoint(
    engine: Engine, attempt: Attempt, row: CheckpointRow, reason: str, event: EventType = "job.checkpoint_damaged"
) -> None:
    """Forget a checkpoint and the epochs after the one before it, and tell so by an event. Raises `Fenced`."""
    with writing(engine) as connection:
        _fence(connection, attempt)
        connection.execute(delete(checkpoints).where(checkpoints.c.job_id == row.job_id, checkpoints.c.seq == row.seq))
        left = checkpoints_of(connection, row.job_id, row.phase)
        kept = left[-1].epoch if left else -1
        if row.phase == "pretrain":
            lost = (pretrain_epochs.c.job_id == row.job_id, pretrain_epochs.c.number > kept)
            connection.execute(delete(pretrain_epochs).where(*lost))
        else:
            _forget_epochs_after(connection, row.job_id, kept)
            connection.execute(update(jobs).where(jobs.c.id == row.job_id).values(epoch=max(0, kept)))
        append_event(connection, row.job_id, event, seq=row.seq, epoch=row.epoch, reason=reason)


def _fence(connection: Connection, attempt: Attempt, **values: Any) -> None:
    """Prove that `attempt` is still the newest, and hold the run's row until the transaction ends."""
    change = update(runs).where(runs.c.id == attempt.run_id, runs.c.attempt == attempt.number)
    if connection.execute(change.values(values or {"attempt": runs.c.attempt})).rowcount != 1:
        raise Fenced(f"Attempt {attempt.number} of {attempt.run_id} is over: a newer attempt has begun.")


def _own(attempt: Attempt, job_id: str) -> tuple[Any, Any]:
    """Return what selects a job as long as it belongs to the attempt's run."""
    return jobs.c.id == job_id, jobs.c.run_id == attempt.run_id


def _end_job(
    connection: Connection, job_id: str, state: JobState, error: dict[str, Any] | None = None, **data: object
) -> None:
    """Move a job, whose run the caller holds, to the state that its run leaves it in."""
    ended_at = None if state == "paused" else now()
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(state=state, ended_at=ended_at, error=error))
    append_event(connection, job_id, EVENT_OF[state], **data, **({"error": error} if error else {}))


def _members(connection: Connection, run_id: str, states: Sequence[str]) -> list[str]:
    query = select(jobs.c.id).where(jobs.c.run_id == run_id, jobs.c.state.in_(states)).order_by(jobs.c.id)
    return list(connection.execute(query).scalars())


def hold_run(connection: Connection, run_id: str) -> None:
    """Hold a run's row until the transaction ends, so that neither a worker nor its owner moves its jobs meanwhile."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update())


def close_run_if_done(connection: Connection, run_id: str) -> None:
    """Note that a run, which the caller holds, has ended, if none of its jobs needs a worker any more."""
    if not _members(connection, run_id, OPEN_STATES):
        connection.execute(update(runs).where(runs.c.id == run_id, runs.c.ended_at.is_(None)).values(ended_at=now()))
