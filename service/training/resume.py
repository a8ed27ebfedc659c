"""Find where a run resumes: the last epoch of which every job has an intact checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from models.checkpoint import decode, decode_resume
from models.errors import CheckpointDamaged
from models.training.snapshot import Snapshot
from service.store import commits, runs
from service.store.attempts import Attempt, Member
from service.store.checkpoints import CheckpointRow, list_checkpoints
from service.training.context import WorkerContext

log = logging.getLogger(__name__)


class ResumeLost(CheckpointDamaged):
    """The optimizer state of a checkpoint is missing or damaged; its weights are whole."""


NO_EPOCH = -1
AHEAD = "Another job of the same run had not reached this epoch when the attempt ended."


def last_snapshots(context: WorkerContext, attempt: Attempt) -> list[Snapshot] | None:
    """Return the jobs' snapshots of the last epoch that all jobs have, or None if they have none in common.

    Jobs are committed one after another, so a worker may die while some are ahead; those go back to the common epoch.
    Checkpoints that are damaged or later than that epoch are discarded, with the reason. Raises `Fenced`.
    """
    snapshots = [_last_snapshot(context, attempt, member, None) for member in attempt.members]
    while len(epochs := {_epoch(snapshot) for snapshot in snapshots}) > 1:
        common = min(epochs)
        snapshots = [
            snapshot if _epoch(snapshot) == common else _last_snapshot(context, attempt, member, common)
            for member, snapshot in zip(attempt.members, snapshots, strict=True)
        ]
    if attempt.number > 1:
        runs.forget_epochs_after(context.engine, attempt, _epoch(snapshots[0]))
    whole = [snapshot for snapshot in snapshots if snapshot is not None]
    return whole or None


def _epoch(snapshot: Snapshot | None) -> int:
    return NO_EPOCH if snapshot is None else snapshot.epoch


def _last_snapshot(
    context: WorkerContext, attempt: Attempt, member: Member, no_later_than: int | None
) -> Snapshot | None:
    for row in reversed(list_checkpoints(context.engine, member.job_id, phase="train")):
        if row.epoch > 0 and row.resume_path is None:
            continue  # only its weights are kept
        if no_later_than is not None and row.epoch > no_later_than:
            log.info("%s: going back from epoch %d: %s", member.job_id, row.epoch, AHEAD)
            commits.discard_checkpoint(context.engine, attempt, row, AHEAD, "job.checkpoint_discarded")
            continue
        try:
            return _read(context, row)
        except ResumeLost as error:
            log.warning("%s: going back one checkpoint, whose weights stay: %s", member.job_id, error)
            commits.forget_resume(context.engine, attempt, row, error.detail)
        except CheckpointDamaged as error:
            log.warning("%s: going back one checkpoint: %s", member.job_id, error)
            commits.discard_checkpoint(context.engine, attempt, row, error.detail, "job.checkpoint_damaged")
    return None


def _read(context: WorkerContext, row: CheckpointRow) -> Snapshot:
    weights = decode(context.artifacts.read(row.weights_path, row.weights_file_sha256)).weights
    optimizer: Mapping[str, Any] = {}
    if row.resume_path is not None and row.resume_file_sha256 is not None:
        try:
            optimizer = decode_resume(context.artifacts.read(row.resume_path, row.resume_file_sha256), row.epoch)
        except CheckpointDamaged as error:
            raise ResumeLost(error.detail, error.hint) from error
    return Snapshot(row.epoch, weights, optimizer)
