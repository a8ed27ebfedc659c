"""The checkpoints of a run's jobs: files first, rows second, written beside the training.

A disk may take as long to keep a checkpoint as a GPU needs for an epoch, and a commit of many jobs takes seconds: so
one thread writes what the training has handed over, and the training waits for it only before it hands over the next,
and where somebody waits for the result.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from models.checkpoint import CheckpointMetadata, encode, encode_resume, weights_sha256
from models.data import DataSet
from models.train import Snapshot
from service.artifacts import attempt_folder
from service.committing import commit
from service.store.checkpoints import NewCheckpoint
from service.store.jobs import JobState
from service.store.runs import Attempt, Made, Member
from service.surroundings import Surroundings
from service.watch import Watch

log = logging.getLogger(__name__)

RESUME_FILES_KEPT = 2


@dataclass(frozen=True)
class Ready:
    """What is to be committed of one job, the run's `index`-th: copies that training does not touch any more."""

    index: int
    member: Member
    snapshot: Snapshot
    made: Made
    final: bool


Ended = dict[int, JobState]
"""The jobs of a run that do not go on, by their index, and what became of them."""


class Commits:
    """Commits of one attempt, in a thread of their own."""

    def __init__(self, around: Surroundings, attempt: Attempt, data: DataSet, watch: Watch) -> None:
        self._around, self._attempt, self._data, self._watch = around, attempt, data, watch
        self._pool = ThreadPoolExecutor(1, "commits")
        self._running: Future[Ended] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.shutdown()

    @property
    def idle(self) -> bool:
        """Say whether nothing is being written."""
        return self._running is None or self._running.done()

    def begin(self, ready: Sequence[Ready]) -> None:
        """Begin to commit these checkpoints; those before must have been `collected`."""
        self._running = self._pool.submit(self._commit_all, ready)

    def collected(self) -> Ended:
        """Wait for what was begun, and return the jobs that have ended by it. Raises what writing has raised."""
        running, self._running = self._running, None
        return {} if running is None else running.result()

    def _commit_all(self, ready: Sequence[Ready]) -> Ended:
        states = {one.index: self._commit_one(one) for one in ready}
        return {index: state for index, state in states.items() if state != "running"}

    def _commit_one(self, ready: Ready) -> JobState:
        member = ready.member
        committed = commit(
            self._around,
            self._attempt,
            member.job_id,
            self._write_files(ready),
            ready.made,
            self._watch.progress.get(member.job_id),
            resume_files_kept=RESUME_FILES_KEPT,
            checkpoints_kept=self._around.checkpoints_kept,
        )
        self._watch.moved()
        if committed.is_kept:
            log.info("%s: attempt %d committed epoch %d", member.job_id, self._attempt.number, ready.snapshot.epoch)
        return committed.state

    def _write_files(self, ready: Ready) -> NewCheckpoint:
        attempt, member, snapshot = self._attempt, ready.member, ready.snapshot
        stem = f"{attempt_folder(member.job_id, attempt.run_id, attempt.number)}/{snapshot.epoch:06d}"
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
        # Written even where the optimizer remembers nothing (SGD without momentum): what is missing is then damage.
        resume_path = f"{stem}.resume.safetensors" if snapshot.epoch > 0 and not ready.final else None
        if resume_path is not None:
            files[resume_path] = encode_resume(snapshot.optimizer, snapshot.epoch)
        digests = self._around.artifacts.write_all(files)
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
