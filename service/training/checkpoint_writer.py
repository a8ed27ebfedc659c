"""Write the checkpoints of a run's jobs concurrently with training: files first, rows second.

Writing a checkpoint to disk can take as long as an epoch on a GPU, and a commit of many jobs takes longer. One thread
therefore writes what the training thread submits. The training thread waits for it only before the next submission, and
where it needs the result: after the last epoch or a divergence, before a pause or a shutdown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from models.checkpoint import CheckpointMetadata, encode, encode_resume, weights_sha256
from models.data.mnist import DataSet
from models.training.snapshot import Snapshot
from service.artifacts.groups import in_groups
from service.artifacts.layout import attempt_folder
from service.store.attempts import Attempt, Member
from service.store.checkpoints import NewCheckpoint
from service.store.commits import CheckpointCommit
from service.store.epoch_records import EpochRecords
from service.store.jobs import JobState
from service.store.work_counts import note_work
from service.training.commit import commit_all
from service.training.context import WorkerContext
from service.training.monitor import TrainingMonitor

log = logging.getLogger(__name__)

RESUME_FILES_KEPT = 2
JOBS_PER_COMMIT = 16
BYTES_PER_COMMIT = 2**28
"""A group is of a short transaction, and of limited memory for weights, optimizers and files; a job may have more."""


@dataclass(frozen=True)
class PendingCheckpoint:
    """The next commit of one job, the run's `index`-th member; training no longer changes these copies."""

    index: int
    member: Member
    snapshot: Snapshot
    records: EpochRecords
    final: bool


EndedJobs = dict[int, JobState]
"""The states of the jobs of a run that no longer train, by member index."""


class CheckpointWriter:
    """Writes and commits the checkpoints of one attempt, in a thread of its own."""

    def __init__(self, context: WorkerContext, attempt: Attempt, data: DataSet, monitor: TrainingMonitor) -> None:
        self._context, self._attempt, self._data, self._monitor = context, attempt, data, monitor
        self._pool = ThreadPoolExecutor(1, "commits")
        self._running: Future[EndedJobs] | None = None
        self._last_commit_us = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown()
        with suppress(SQLAlchemyError):  # a measure is not worth a wait for the database
            note_work(self._context.engine, {"commit_us": self._last_commit_us})

    @property
    def idle(self) -> bool:
        """Return whether no commit is in progress."""
        return self._running is None or self._running.done()

    def submit(self, ready: Sequence[PendingCheckpoint]) -> None:
        """Start committing these checkpoints; call `wait` for the previous ones first."""
        self._running = self._pool.submit(self._commit_all, ready)

    def wait(self) -> EndedJobs:
        """Wait for the commit in progress and return the jobs that it ended. Raises what the commit raised."""
        running, self._running = self._running, None
        return {} if running is None else running.result()

    def _commit_all(self, ready: Sequence[PendingCheckpoint]) -> EndedJobs:
        ended: EndedJobs = {}
        for group in in_groups(ready, _bytes_of, JOBS_PER_COMMIT, BYTES_PER_COMMIT):
            ended |= self._commit_group(group)
        return ended

    def _commit_group(self, group: Sequence[PendingCheckpoint]) -> EndedJobs:
        """Write the files of all, wait until they are on the disk, and commit all rows in one transaction."""
        begun = time.monotonic()
        self._context.fault_hook("write_files")
        files = [self._files_of(ready) for ready in group]
        digests = self._context.artifacts.write_all(
            {path: data for own in files for path, data in own.contents.items()}
        )
        commits = [
            CheckpointCommit(
                attempt=self._attempt,
                job_id=ready.member.job_id,
                checkpoint=_row_of(ready, own, digests),
                records=ready.records,
                progress=self._monitor.progress.get(ready.member.job_id),
                resume_files_kept=RESUME_FILES_KEPT,
                checkpoints_kept=self._context.checkpoints_kept,
            )
            for ready, own in zip(group, files, strict=True)
        ]
        before_us, self._last_commit_us = self._last_commit_us, 0
        results = commit_all(self._context, self._attempt, commits, before_us)
        self._last_commit_us = round(1e6 * (time.monotonic() - begun))
        self._monitor.moved()
        for ready, committed in zip(group, results, strict=True):
            if committed.is_kept:
                epoch = ready.snapshot.epoch
                log.info("%s: attempt %d committed epoch %d", ready.member.job_id, self._attempt.number, epoch)
        states = {ready.index: committed.state for ready, committed in zip(group, results, strict=True)}
        return {index: state for index, state in states.items() if state != "running"}

    def _files_of(self, ready: PendingCheckpoint) -> _Files:
        attempt, member, snapshot = self._attempt, ready.member, ready.snapshot
        folder = attempt_folder(member.job_id, attempt.run_id, attempt.number, attempt.token)
        stem = f"{folder}/{snapshot.epoch:06d}"
        digest = weights_sha256(snapshot.weights)
        metadata = CheckpointMetadata(
            spec=member.spec,
            epoch=snapshot.epoch,
            final=ready.final,
            data=self._data.name,
            data_sha256=self._data.sha256,
            weights_sha256=digest,
        )
        weights_path = f"{stem}.weights.safetensors"
        contents = {weights_path: encode(snapshot.weights, metadata)}
        # Written even if the optimizer has no state (SGD without momentum), so a missing file always means damage.
        resume_path = f"{stem}.resume.safetensors" if snapshot.epoch > 0 and not ready.final else None
        if resume_path is not None:
            contents[resume_path] = encode_resume(snapshot.optimizer, snapshot.epoch)
        return _Files(weights_path, resume_path, digest, contents)


@dataclass(frozen=True)
class _Files:
    """The files of a checkpoint: contents by path, and the hash of the weights themselves."""

    weights_path: str
    resume_path: str | None
    weights_sha256: str
    contents: dict[str, bytes]


def _bytes_of(ready: PendingCheckpoint) -> int:
    return sum(data.nbytes for part in (ready.snapshot.weights, ready.snapshot.optimizer) for data in part.values())


def _row_of(ready: PendingCheckpoint, files: _Files, digests: Mapping[str, str]) -> NewCheckpoint:
    return NewCheckpoint(
        phase="train",
        epoch=ready.snapshot.epoch,
        final=ready.final,
        weights_path=files.weights_path,
        weights_bytes=len(files.contents[files.weights_path]),
        weights_sha256=files.weights_sha256,
        weights_file_sha256=digests[files.weights_path],
        resume_path=files.resume_path,
        resume_file_sha256=None if files.resume_path is None else digests[files.resume_path],
    )
