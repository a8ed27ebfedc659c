"""One attempt of a worker at a run: restore, train, commit, end.

Every database write is fenced by the attempt's number (`service.store.attempts`). A monitor thread
(`service.training.monitor`) reports progress and reads requested cancels and pauses, so that training never waits for
the database between two steps.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence

import torch

from models.data.mnist import DataSet
from models.data.training_images import training_images
from models.diagnostics.report import Diagnostics
from models.errors import LossNotFinite
from models.init.pretrained import Dbn
from models.progress import StepProgress
from models.results import EpochMetrics, EvaluationRecord
from models.training.snapshot import Snapshot
from models.training.train import Training
from service.store import runs
from service.store.attempts import Attempt, Member
from service.store.epoch_records import EpochRecords
from service.store.jobs import job_metrics, seconds_of_job
from service.store.outages import retry_while_unreachable
from service.training.checkpoint_writer import CheckpointWriter, EndedJobs, PendingCheckpoint
from service.training.context import WorkerContext, shown_preparation, shown_progress
from service.training.failure_reasons import failure_reason
from service.training.monitor import TrainingMonitor
from service.training.pretraining import PretrainingOfMember
from service.training.reproducibility import pinned
from service.training.resume import last_snapshots

log = logging.getLogger(__name__)

GPU_COMMIT_INTERVAL_S = 0.5
GPU_COMMIT_SHARE = 0.05
"""The share of the time on a GPU that copies and records for commits may take between start and end."""
MOST_WITHOUT_COMMIT_S = 10.0
"""A run of many jobs commits at the latest after so many seconds, whatever share that takes."""
GPU_DIAGNOSTICS_SHARE = 0.05
"""On a GPU, layer records between start and end are skipped once they have taken more than this share of training."""


class RunAttempt:
    """An attempt that has begun: its members, its data, its training."""

    def __init__(self, context: WorkerContext, attempt: Attempt, data: DataSet) -> None:
        self._context = context
        self._engine = context.engine
        self._attempt = attempt
        self._data = data
        self._device = context.device
        self._on_gpu = context.device.kind != "cpu"
        self._live = dict(enumerate(attempt.members))
        limit_s, waits = context.stall_limit_s, lambda: context.artifacts.is_waiting
        self._monitor = TrainingMonitor(context.engine, attempt, limit_s, context.end_process, waits)
        self._writer = CheckpointWriter(context, attempt, data, self._monitor)
        self._pending: dict[int, list[EpochMetrics]] = {index: [] for index in self._live}
        self._committed_at = -float("inf")
        self._handing_over_s = 0.0
        self._training_s = self._diagnosing_s = 0.0
        self._someone_cancelled = False

    def run(self) -> bool:
        """Train to the end, or until no job is left; return whether a job was cancelled meanwhile.

        Raises the error that ended the attempt early. A job that diverges fails alone.
        """
        pins, reason = pinned(self._attempt, self._data, self._device)
        torch.set_num_threads(pins["threads"])
        retry_while_unreachable(lambda: runs.start_jobs(self._engine, self._attempt, pins, reason))
        self._limit_time()
        with self._monitor, self._writer:
            training = self._restored(pins["engine"])
            while not training.finished and self._live:
                self._run_epoch(training)
        return self._someone_cancelled

    def _limit_time(self) -> None:
        """Set the time that is left of the spec's `max_seconds`; the members of a run have it in common."""
        max_seconds = self._attempt.members[0].spec.max_seconds
        if max_seconds is not None:
            spent_s = max(seconds_of_job(self._engine, member.job_id) for member in self._attempt.members)
            self._monitor.limit_time(max_seconds, spent_s)

    # -- during training ---------------------------------------------------------------------------------

    def _run_epoch(self, training: Training) -> None:
        started = time.monotonic()
        try:
            metrics = training.run_epoch(lambda progress: self._between_steps(training, progress))
        except LossNotFinite:
            metrics = {}
        self._training_s += time.monotonic() - started
        if training.failures.keys() & self._live.keys():  # their earlier epochs are committed first
            self._stop_training(training, self._writer.wait())
        for index in training.failures.keys() & self._live.keys():
            self._end_diverged(index, training.failures[index])
        for index in self._live:
            self._pending[index].append(metrics[index])
        if self._live:
            self._commit(training)

    def _end_diverged(self, index: int, failure: LossNotFinite) -> None:
        member = self._live.pop(index)
        log.info("%s: attempt %d failed: %s", member.job_id, self._attempt.number, failure)
        reason, since = failure_reason(failure, member.spec), self._pending.pop(index)
        retry_while_unreachable(
            lambda: runs.end_job(self._engine, self._attempt, member.job_id, "failed", reason, since)
        )

    def _between_steps(self, training: Training, progress: StepProgress) -> None:
        self._context.fault_hook("between_steps")
        self._monitor.moved()
        self._context.raise_if_too_long_to_drain(progress)
        self._monitor.raise_if_unwanted()
        if self._monitor.cancelled:
            cancelled = [index for index, member in self._live.items() if member.job_id in self._monitor.cancelled]
            self._stop_training(training, dict.fromkeys(cancelled, "cancelled"))
        if not self._monitor.wants_progress() and progress.step < progress.steps_per_epoch:
            return
        shared = shown_progress(progress, self._attempt.members[0].spec.epochs, training.images_per_epoch)
        losses = {index: training.running_loss(index, progress.images) for index in self._live}
        self._monitor.publish(
            {
                self._live[index].job_id: shared | {"running_loss": loss}
                for index, loss in losses.items()
                if math.isfinite(loss)
            }
        )

    def _stop_training(self, training: Training, ended: EndedJobs) -> None:
        """Drop these jobs from the training, and note whether one was cancelled."""
        for index, state in ended.items():
            if self._live.pop(index, None) is not None:
                training.drop(index)
            self._someone_cancelled |= state in ("cancelling", "cancelled")

    def _commit(self, training: Training) -> None:
        """Submit the jobs' checkpoints: every epoch's on a CPU, some and the last on a GPU.

        Waits for the commit after a job's last epoch, if a job is to pause, and if the worker is stopping.
        """
        self._context.fault_hook("hand_over")
        someone_ends = any(map(training.has_ended, self._live))
        is_interrupted = self._monitor.someone_pauses or self._context.draining()
        is_due = is_interrupted or self._commit_is_due(training)
        if not someone_ends and not is_due:
            return
        awaited = someone_ends or is_interrupted
        self._stop_training(training, self._writer.wait())
        started = time.monotonic()
        self._writer.submit(self._ready(training, only_ended=not is_due))
        if training.epoch > 0 and not someone_ends:  # records of start and end take several times as long as others
            self._handing_over_s = time.monotonic() - started
        if awaited:
            self._stop_training(training, self._writer.wait())
        if is_due:
            self._committed_at = time.monotonic()
        self._monitor.moved()
        self._monitor.raise_if_unwanted()
        if self._live and is_interrupted:
            self._context.raise_if_draining()

    def _commit_is_due(self, training: Training) -> bool:
        if not self._on_gpu or training.epoch == 0:
            return True
        by_cost_s = min(self._handing_over_s / GPU_COMMIT_SHARE, MOST_WITHOUT_COMMIT_S)
        return self._writer.idle and time.monotonic() - self._committed_at >= max(GPU_COMMIT_INTERVAL_S, by_cost_s)

    def _ready(self, training: Training, *, only_ended: bool) -> list[PendingCheckpoint]:
        """Return the checkpoints of all jobs, or of those that have ended, with the records since their last ones."""
        ended = [index for index in self._live if training.has_ended(index)]
        others = [] if only_ended else [index for index in self._live if index not in ended]
        return [
            *self._ready_of(training, others, final=False),
            *self._ready_of(training, ended, final=True),
        ]

    def _ready_of(self, training: Training, some: Sequence[int], *, final: bool) -> list[PendingCheckpoint]:
        if not some:
            return []
        snapshots = training.snapshots(some, to_resume=not final)
        diagnostics = self._diagnosed(training, some, between=training.epoch > 0 and not final)
        evaluations: Sequence[EvaluationRecord | None] = training.evaluate_all(some) if final else [None] * len(some)
        ready = []
        for index, snapshot, report, evaluation in zip(some, snapshots, diagnostics, evaluations, strict=True):
            records = EpochRecords(epochs=self._pending[index], diagnostics=report, evaluation=evaluation)
            ready.append(PendingCheckpoint(index, self._live[index], snapshot, records, final))
            self._pending[index] = []
        return ready

    def _diagnosed(self, training: Training, some: Sequence[int], *, between: bool) -> Sequence[Diagnostics | None]:
        too_long = self._on_gpu and between and self._diagnosing_s > GPU_DIAGNOSTICS_SHARE * self._training_s
        if too_long or not self._live[some[0]].spec.diagnostics:
            return [None] * len(some)
        started = time.monotonic()
        reports = training.diagnose_all(some)
        self._diagnosing_s += (time.monotonic() - started) if between else 0.0
        return reports

    # -- before training ---------------------------------------------------------------------------------

    def _restored(self, engine: str) -> Training:
        """Return the training at its last intact checkpoint, or a new one whose initial weights are committed."""
        self._context.fault_hook("restore")
        snapshots = last_snapshots(self._context, self._attempt)
        if snapshots is not None:
            training = self._prepared(snapshots, engine)
            for index, member in self._live.items():
                training.remember(index, job_metrics(self._engine, member.job_id))
            return training
        training = self._prepared(self._first_snapshots(), engine)
        self._commit(training)
        return training

    def _prepared(self, snapshots: list[Snapshot] | None, engine: str) -> Training:
        epoch = snapshots[0].epoch if snapshots else 0
        self._monitor.publish(
            {member.job_id: shown_preparation(member.spec, epoch) for member in self._attempt.members}
        )
        specs = [member.spec for member in self._attempt.members]
        return Training(specs, self._data, self._device.torch_device, snapshots, engine)

    def _first_snapshots(self) -> list[Snapshot] | None:
        """Return the snapshots that training starts from if a job pre-trains; None if the seeds are enough."""
        members = self._attempt.members
        if not any(isinstance(member.spec.init, Dbn) for member in members):
            return None
        return [self._first_snapshot(member) for member in members]

    def _first_snapshot(self, member: Member) -> Snapshot:
        if isinstance(member.spec.init, Dbn):
            context, monitor = self._context, self._monitor
            return PretrainingOfMember(context, self._attempt, monitor, self._data, member).first_snapshot()
        network = member.spec.first_network(training_images(member.spec, self._data))
        return Snapshot(0, network.to_weights(), {})
