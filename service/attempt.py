"""One attempt of a worker at a run: restore, train, commit, end.

Everything that must last goes through `service.store.runs`, fenced by the attempt's number. A watch beside the
training (`service.watch`) reports progress and reads the owner's wishes, so that the training itself never waits for
the database between two steps.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.checkpoint import CheckpointMetadata, decode, decode_resume, encode, encode_resume, weights_sha256
from models.data import DataSet
from models.errors import CheckpointDamaged, DataDamaged, DataMissing, FaninError, Interrupted
from models.evaluate import evaluate
from models.init.pretrained import Dbn
from models.results import EpochMetrics
from models.step_progress import StepProgress
from models.train import Snapshot, Training, first_network, training_images
from service.artifacts import attempt_folder
from service.committing import commit
from service.errors import Fenced, NotFound, Unavailable
from service.failures import explained
from service.pretraining import PretrainingOfMember
from service.store import runs
from service.store.checkpoints import NewCheckpoint, list_checkpoints
from service.store.runs import Attempt, Made, Member
from service.surroundings import Device, Drained, Surroundings, persistently, shown_progress
from service.watch import Watch

log = logging.getLogger(__name__)

ENGINE = "stacked-step"
PRECISION = "float32"
GPU_COMMIT_INTERVAL_S = 0.5
RESUME_FILES_KEPT = 2
MOST_ATTEMPTS_WITHOUT_CHECKPOINT = 3


class RunAttempt:
    """An attempt that has begun: its members, its data, its training."""

    def __init__(self, surroundings: Surroundings, attempt: Attempt, data: DataSet) -> None:
        self._around = surroundings
        self._engine = surroundings.engine
        self._artifacts = surroundings.artifacts
        self._attempt = attempt
        self._data = data
        self._device = surroundings.device
        self._live = dict(enumerate(attempt.members))
        self._watch = Watch(surroundings.engine, attempt, surroundings.stall_limit_s, surroundings.end_process)
        self._pending: dict[int, list[EpochMetrics]] = {index: [] for index in self._live}
        self._committed_at = -float("inf")
        self._someone_cancelled = False

    def run(self) -> bool:
        """Train to the end, or until nobody wants the result; return whether a job was cancelled meanwhile.

        Raises what ended it early.
        """
        pins, reason = _pinned(self._attempt.pins, self._data, self._device)
        torch.set_num_threads(pins["threads"])
        persistently(lambda: runs.start_jobs(self._engine, self._attempt, pins, reason))
        with self._watch:
            training = self._restored()
            while not training.finished and self._live:
                metrics = training.run_epoch(lambda progress: self._between_steps(training, progress))
                for index in self._live:
                    self._pending[index].append(metrics[index])
                self._commit(training)
        return self._someone_cancelled

    # -- during training ---------------------------------------------------------------------------------

    def _between_steps(self, training: Training, progress: StepProgress) -> None:
        self._watch.moved()
        self._around.raise_if_too_long_to_drain(progress)
        self._watch.raise_if_unwanted()
        if not self._watch.wants_progress() and progress.step < progress.steps_per_epoch:
            return
        shared = shown_progress(progress, self._attempt.members[0].spec.epochs, training.images_per_epoch)
        losses = {index: training.running_loss(index, progress.images) for index in self._live}
        if all(map(math.isfinite, losses.values())):
            self._watch.publish(
                {self._live[index].job_id: shared | {"running_loss": loss} for index, loss in losses.items()}
            )

    def _commit(self, training: Training) -> None:
        awaited = training.finished or self._watch.someone_pauses or self._around.draining()
        due = self._device.kind == "cpu" or time.monotonic() - self._committed_at >= GPU_COMMIT_INTERVAL_S
        if not due and not awaited:
            return
        for index, member in list(self._live.items()):
            if not self._commit_member(training, index, member):
                del self._live[index]
        self._committed_at = time.monotonic()
        self._watch.moved()
        self._watch.raise_if_unwanted()
        if self._live and not training.finished:
            self._around.raise_if_draining()

    def _commit_member(self, training: Training, index: int, member: Member) -> bool:
        """Commit a checkpoint of one job, and return whether the job goes on."""
        snapshot = training.snapshot(index)
        final = training.finished
        made = Made(
            epochs=self._pending[index],
            diagnostics=training.diagnose(index) if member.spec.diagnostics else None,
            evaluation=evaluate(training.network(index), self._data) if final else None,
        )
        self._pending[index] = []
        checkpoint = self._write_files(member, snapshot, final=final)
        committed = commit(
            self._around,
            self._attempt,
            member.job_id,
            checkpoint,
            made,
            self._watch.progress.get(member.job_id),
            resume_files_kept=RESUME_FILES_KEPT,
            checkpoints_kept=self._around.checkpoints_kept,
        )
        if committed.is_kept:
            log.info("%s: attempt %d committed epoch %d", member.job_id, self._attempt.number, snapshot.epoch)
        self._someone_cancelled |= committed.state in ("cancelling", "cancelled")
        return committed.state == "running"

    def _write_files(self, member: Member, snapshot: Snapshot, *, final: bool) -> NewCheckpoint:
        attempt = self._attempt
        stem = f"{attempt_folder(member.job_id, attempt.run_id, attempt.number)}/{snapshot.epoch:06d}"
        digest = weights_sha256(snapshot.weights)
        metadata = CheckpointMetadata(
            spec=member.spec,
            epoch=snapshot.epoch,
            final=final,
            data=self._data.name,
            data_sha256=self._data.sha256,
            weights_sha256=digest,
        )
        weights = encode(snapshot.weights, metadata)
        # Written even where the optimizer remembers nothing (SGD without momentum): what is missing is then damage.
        resume_path = f"{stem}.resume.safetensors" if snapshot.epoch > 0 and not final else None
        return NewCheckpoint(
            phase="train",
            epoch=snapshot.epoch,
            final=final,
            weights_path=f"{stem}.weights.safetensors",
            weights_bytes=len(weights),
            weights_sha256=digest,
            weights_file_sha256=self._artifacts.write(f"{stem}.weights.safetensors", weights),
            resume_path=resume_path,
            resume_file_sha256=self._artifacts.write(resume_path, encode_resume(snapshot.optimizer, snapshot.epoch))
            if resume_path
            else None,
        )

    # -- before training ---------------------------------------------------------------------------------

    def _restored(self) -> Training:
        """Return the training at its last whole checkpoint, or a new one whose initial weights are committed."""
        specs = [member.spec for member in self._attempt.members]
        snapshots = [self._last_snapshot(member) for member in self._attempt.members]
        found = [snapshot for snapshot in snapshots if snapshot is not None]
        if len(found) == len(specs):
            return Training(specs, self._data, self._device.torch_device, found)
        training = Training(specs, self._data, self._device.torch_device, self._first_snapshots())
        self._commit(training)
        return training

    def _first_snapshots(self) -> list[Snapshot] | None:
        """Return what training starts from where a job pre-trains; None if its own seed is enough."""
        members = self._attempt.members
        if not any(isinstance(member.spec.init, Dbn) for member in members):
            return None
        return [self._first_snapshot(member) for member in members]

    def _first_snapshot(self, member: Member) -> Snapshot:
        if isinstance(member.spec.init, Dbn):
            around, watch = self._around, self._watch
            return PretrainingOfMember(around, self._attempt, watch, self._data, member).first_snapshot()
        network = first_network(member.spec, training_images(member.spec, self._data))
        return Snapshot(0, network.to_weights(), {})

    def _last_snapshot(self, member: Member) -> Snapshot | None:
        for row in reversed(list_checkpoints(self._engine, member.job_id, phase="train")):
            try:
                weights = decode(self._artifacts.read(row.weights_path, row.weights_file_sha256)).weights
                optimizer: Mapping[str, Any] = {}
                if row.epoch > 0:
                    if row.resume_path is None or row.resume_file_sha256 is None:
                        raise CheckpointDamaged(f"Epoch {row.epoch} has no optimizer state any more.")
                    optimizer = decode_resume(self._artifacts.read(row.resume_path, row.resume_file_sha256), row.epoch)
                return Snapshot(row.epoch, weights, optimizer)
            except CheckpointDamaged as error:
                log.warning("%s: going back one checkpoint: %s", member.job_id, error)
                runs.discard_checkpoint(self._engine, self._attempt, row, error.detail)
        return None


PASSING = (SQLAlchemyError, Unavailable, Drained, torch.AcceleratorError)
"""What says nothing about the job: database or files out of reach, a request to stop, a GPU whose driver has failed
(every later call in this process would fail too). The run stays in the queue; the attempt limit ends what circles."""


class LacksData(FaninError):
    """This worker does not have the data that earlier attempts were made with; another one may."""


def make_attempt(surroundings: Surroundings, run_id: str) -> None:
    """Try a run once and end its jobs, whatever happens but `PASSING`, after which the process should start anew.

    Raises `LacksData` if another worker should try.
    """
    engine = surroundings.engine
    try:
        attempt = persistently(lambda: runs.begin_attempt(engine, run_id, surroundings.worker, os.getpid()))
    except NotFound:
        log.info("%s: its jobs have been deleted or given a new run", run_id)
        return
    if not attempt.members:
        log.info("%s: nothing left to do", run_id)
        return
    if _attempted(surroundings, attempt):
        _tell_released(surroundings, attempt)


def _attempted(surroundings: Surroundings, attempt: Attempt) -> bool:
    """Make an attempt to its end; return whether a job of it was cancelled."""
    run_id, engine = attempt.run_id, surroundings.engine
    try:
        _check_attempts(attempt)
        cancelled = RunAttempt(surroundings, attempt, _load_data(surroundings, attempt)).run()
        log.info("%s: attempt %d has ended", run_id, attempt.number)
    except Interrupted as error:
        log.info("%s: attempt %d stopped: %s", run_id, attempt.number, error)
        return True
    except Fenced as error:
        log.info("%s: attempt %d stopped: %s", run_id, attempt.number, error)
    except Drained:
        runs.uncount_attempt(engine, attempt)
        raise
    except (*PASSING, LacksData) as error:
        _note(engine, attempt, error)
        raise
    except Exception as error:
        if not isinstance(error, FaninError):
            log.exception("%s: attempt %d failed", run_id, attempt.number)
        _fail(surroundings, attempt, error)
    else:
        return cancelled
    return False


def _load_data(surroundings: Surroundings, attempt: Attempt) -> DataSet:
    if attempt.pins is None:
        return surroundings.load_data(attempt.members[0].spec.data)
    try:
        data = surroundings.load_data(attempt.pins["data"])
    except (DataMissing, DataDamaged) as error:
        raise LacksData(
            f"{surroundings.worker} cannot read {attempt.pins['data']}: {error.detail}", error.mend
        ) from error
    if data.sha256 != attempt.pins["data_sha256"]:
        raise LacksData(
            f"{surroundings.worker} has other files of {data.name} than those the first attempt read.",
            "Give all machines the same files.",
        )
    return data


def _tell_released(surroundings: Surroundings, attempt: Attempt) -> None:
    """Free what the stopped training held on the device, and say so to whoever waits for it."""
    held_bytes = 0
    if surroundings.device.kind == "cuda":
        torch.cuda.empty_cache()
        held_bytes = torch.cuda.memory_reserved()
    runs.report_released(surroundings.engine, attempt, worker=surroundings.worker, device_memory_held_bytes=held_bytes)


def _note(engine: Engine, attempt: Attempt, error: Exception) -> None:
    """Keep the reason for the next attempt to tell, if the database lets us."""
    try:
        runs.note_error(engine, attempt, explained(error))
    except (SQLAlchemyError, Fenced) as second:
        log.warning("%s: the reason why it ended could not be kept: %s", attempt.run_id, second)


def _fail(surroundings: Surroundings, attempt: Attempt, error: Exception) -> None:
    reason = explained(error, attempt.members[0].spec, surroundings.device.total_memory_bytes)
    try:
        for member in attempt.members:
            persistently(partial(runs.end_job, surroundings.engine, attempt, member.job_id, "failed", reason))
    except Fenced as fenced:
        log.info("%s: attempt %d failed after it was taken over: %s", attempt.run_id, attempt.number, fenced)


def _check_attempts(attempt: Attempt) -> None:
    if attempt.attempts_without_checkpoint <= MOST_ATTEMPTS_WITHOUT_CHECKPOINT:
        return
    last = attempt.previous or {"attempt": attempt.number - 1, "detail": "It was stopped."}
    raise TooManyAttempts(
        f"{MOST_ATTEMPTS_WITHOUT_CHECKPOINT} attempts in a row ended before they could write a checkpoint. The last, "
        f"attempt {last['attempt']}: {last['detail']}",
        last.get("mend") or "Look into the worker's log; if it ran out of memory, a smaller model or batch needs less.",
    )


class TooManyAttempts(FaninError):
    """The run was tried too often without getting further."""


def _pinned(pins: dict[str, Any] | None, data: DataSet, device: Device) -> tuple[dict[str, Any], str | None]:
    """Return what must not change between attempts, and why the bits may differ all the same (or None)."""
    own = {
        "engine": ENGINE,
        "precision": PRECISION,
        "torch": torch.__version__,
        "device": device.kind,
        "device_name": device.name,
        "threads": device.threads,
        "data": data.name,
        "data_sha256": data.sha256,
    }
    if pins is None:
        return own, None
    differing = [name for name in ("engine", "torch", "device", "device_name") if pins[name] != own[name]]
    if not differing:
        return pins, None
    changes = ", ".join(f"{name} {pins[name]} -> {own[name]}" for name in differing)
    return pins | {name: own[name] for name in differing}, f"A later attempt ran with {changes}."
