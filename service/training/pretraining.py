"""The pre-training of an attempt, for schemes that pre-train; each epoch is committed."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from models.checkpoint import decode_resume, encode_resume, weights_sha256
from models.data.mnist import DataSet
from models.data.training_images import training_images
from models.errors import CheckpointDamaged, Interrupted
from models.init.pretrained import Dbn
from models.pretrain.dbn import Pretraining, PretrainSnapshot
from models.progress import StepProgress
from models.results import PretrainMetrics
from models.training.snapshot import Snapshot, pretrained_network
from service.artifacts.layout import attempt_folder
from service.store import commits
from service.store.attempts import Attempt, Member
from service.store.checkpoints import NewCheckpoint, list_checkpoints
from service.store.commits import CheckpointCommit
from service.store.epoch_records import EpochRecords
from service.training.commit import commit_all
from service.training.context import WorkerContext, shown_progress
from service.training.monitor import TrainingMonitor

log = logging.getLogger(__name__)

PRETRAIN_CHECKPOINTS_KEPT = 2


@dataclass(frozen=True)
class PretrainingOfMember:
    """The pre-training of one job of an attempt; continues from its last intact checkpoint."""

    context: WorkerContext
    attempt: Attempt
    monitor: TrainingMonitor
    data: DataSet
    member: Member

    def first_snapshot(self) -> Snapshot:
        """Pre-train to the end and return the network that training starts from.

        Raises `Interrupted` if the job is cancelled or paused, `Drained`, `Fenced`, or a database error.
        """
        spec = self.member.spec
        assert isinstance(spec.init, Dbn)
        images, sizes = training_images(spec, self.data), spec.architecture.sizes[:-1]
        device = self.context.device.torch_device
        pretraining = Pretraining(spec.init.settings, sizes, spec.seed, images, device, self._last_snapshot())
        while not pretraining.finished:
            metrics = pretraining.run_epoch(lambda progress: self._between_steps(pretraining, progress))
            self._commit(pretraining.snapshot(), metrics)
        labels = torch.tensor(self.data.train.labels[: len(images)], dtype=torch.int64)
        network = pretrained_network(spec, pretraining, images, labels, self._before_output_epoch)
        return Snapshot(0, network.to_weights(), {})

    def _before_output_epoch(self) -> None:
        self.monitor.moved()
        self.monitor.raise_if_unwanted()
        self.context.raise_if_draining()

    def _between_steps(self, pretraining: Pretraining, progress: StepProgress) -> None:
        self.monitor.moved()
        self.context.raise_if_too_long_to_drain(progress)
        self.monitor.raise_if_unwanted()
        if not self.monitor.wants_progress() and progress.step < progress.steps_per_epoch:
            return
        overall = shown_progress(progress, pretraining.epochs, pretraining.images_per_epoch)
        of_phase = {"phase": "pretrain", "layer": pretraining.layer + 1, "running_loss": None}
        self.monitor.publish({self.member.job_id: overall | of_phase})

    def _commit(self, snapshot: PretrainSnapshot, metrics: PretrainMetrics) -> None:
        job_id, attempt = self.member.job_id, self.attempt
        folder = attempt_folder(job_id, attempt.run_id, attempt.number, attempt.token)
        path = f"{folder}/pretrain-{snapshot.number:06d}.safetensors"
        content = encode_resume(snapshot.tensors, snapshot.number)
        checkpoint = NewCheckpoint(
            phase="pretrain",
            epoch=snapshot.number,
            final=False,
            weights_path=path,
            weights_bytes=len(content),
            weights_sha256=weights_sha256(snapshot.tensors),
            weights_file_sha256=self.context.artifacts.write(path, content),
            resume_path=None,
            resume_file_sha256=None,
        )
        of_epoch = CheckpointCommit(
            attempt=attempt,
            job_id=job_id,
            checkpoint=checkpoint,
            records=EpochRecords(pretraining=metrics),
            progress=self.monitor.progress.get(job_id),
            checkpoints_kept=PRETRAIN_CHECKPOINTS_KEPT,
        )
        (committed,) = commit_all(self.context, attempt, [of_epoch])
        if committed.is_kept:
            log.info("%s: attempt %d committed pre-training epoch %d", job_id, attempt.number, snapshot.number)
        self.monitor.moved()
        if committed.state != "running":
            raise Interrupted(f"The job is {committed.state}.")
        self.monitor.raise_if_unwanted()
        self.context.raise_if_draining()

    def _last_snapshot(self) -> PretrainSnapshot | None:
        for row in reversed(list_checkpoints(self.context.engine, self.member.job_id, phase="pretrain")):
            try:
                content = self.context.artifacts.read(row.weights_path, row.weights_file_sha256)
                return PretrainSnapshot(row.epoch, decode_resume(content, row.epoch))
            except CheckpointDamaged as error:
                log.warning("%s: going back one epoch of pre-training: %s", self.member.job_id, error)
                commits.discard_checkpoint(self.context.engine, self.attempt, row, error.detail)
        return None
