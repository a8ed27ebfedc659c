"""Write the checkpoints of a run's jobs concurrently with training: files first, rows second.

Writing a checkpoint to disk can take as long as an epoch on a GPU, and a commit of many jobs takes seconds. One thread
therefore writes what the training thread submits. The training thread waits for it only before the next submission, and
where it needs the result: after the last epoch or a divergence, before a pause or a shutdown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from models.checkpoint import CheckpointMetadata, encode, encode_resume, weights_sha256
from models.data.mnist import DataSet
from models.training.snapshot import Snapshot
from service.artifacts import attempt_folder
from service.store.attempts import Attempt, Member
from service.store.checkpoints import NewCheckpoint
from service.store.commits import CheckpointCommit
from service.store.epoch_records import EpochRecords
from service.store.jobs import JobState
from service.training.commit import commit
from service.training.context import WorkerContext
from service.training.monitor import TrainingMonitor

log = logging.getLogger(__name__)

RESUME_FILES_KEPT = 2


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown()

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
        states = {checkpoint.index: self._commit_one(checkpoint) for checkpoint in ready}
        return {index: state for index, state in states.items() if state != "running"}

    def _commit_one(self, ready: PendingCheckpoint) -> JobState:
        member = ready.member
        committed = commit(
            self._context,
            CheckpointCommit(
                attempt=self._attempt,
                job_id=member.job_id,
                checkpoint=self._write_files(ready),
                records=ready.records,
                progress=self._monitor.progress.get(member.job_id),
                resume_files_kept=RESUME_FILES_KEPT,
                checkpoints_kept=self._context.checkpoints_kept,
            ),
        )
        self._monitor.moved()
        if committed.is_kept:
            log.info("%s: attempt %d committed epoch %d", member.job_id, self._attempt.number, ready.snapshot.epoch)
        return committed.state

    def _write_files(self, ready: PendingCheckpoint) -> NewCheckpoint:
        self._context.fault_hook("write_files")
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
        files = {weights_path: encode(snapshot.weights, metadata)}
        # Written even if the optimizer has no state (SGD without momentum), so a missing file always means damage.
        resume_path = f"{stem}.resume.safetensors" if snapshot.epoch > 0 and not ready.final else None
        if resume_path is not None:
            files[resume_path] = encode_resume(snapshot.optimizer, snapshot.epoch)
        digests = self._context.artifacts.write_all(files)
        return NewCheckpoint(
            phase="train",
            epoch=snapshot.epoch,
            final=ready.final,
            weights_path=weights_path,
            weights_bytes=len(files[weights_path]),
            weights_sha256=digest,
            weights_file_sha256=digests[weights_path],
            resume_path=resume_path,
            resume_file_sha256=None if resume_path is None else digests[resume_path],
        )
