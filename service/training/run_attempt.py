"""One attempt of a worker at a run: restore, train, commit, end.

Everything that must last goes through `service.store.runs`, fenced by the attempt's number. A monitor beside the
training (`service.training.monitor`) reports progress and reads the owner's wishes, so that the training itself
never waits for the database between two steps.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import time
from functools import partial

import torch
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.data.mnist import DataSet
from models.data.training_images import training_images
from models.diagnostics.report import Diagnostics
from models.errors import DataDamaged, DataMissing, FaninError, Interrupted, LossNotFinite
from models.init.pretrained import Dbn
from models.progress import StepProgress
from models.results import EpochMetrics
from models.training.train import Snapshot, Training
from service.errors import Fenced, NotFound, Unavailable
from service.store import runs
from service.store.runs import Attempt, Made, Member
from service.training.checkpoint_writer import Commits, Ended, Ready
from service.training.context import Drained, Surroundings, persistently, shown_progress
from service.training.failure_reasons import explained
from service.training.monitor import Watch
from service.training.pretraining import PretrainingOfMember
from service.training.reproducibility import pinned
from service.training.resume import last_snapshots

log = logging.getLogger(__name__)

GPU_COMMIT_INTERVAL_S = 0.5
GPU_DIAGNOSTICS_SHARE = 0.05
"""On a GPU records of layers between start and end are made while they have taken less than this of the training."""
MOST_ATTEMPTS_WITHOUT_CHECKPOINT = 3


class RunAttempt:
    """An attempt that has begun: its members, its data, its training."""

    def __init__(self, surroundings: Surroundings, attempt: Attempt, data: DataSet) -> None:
        self._around = surroundings
        self._engine = surroundings.engine
        self._attempt = attempt
        self._data = data
        self._device = surroundings.device
        self._on_gpu = surroundings.device.kind != "cpu"
        self._live = dict(enumerate(attempt.members))
        self._watch = Watch(surroundings.engine, attempt, surroundings.stall_limit_s, surroundings.end_process)
        self._commits = Commits(surroundings, attempt, data, self._watch)
        self._pending: dict[int, list[EpochMetrics]] = {index: [] for index in self._live}
        self._committed_at = -float("inf")
        self._training_s = self._diagnosing_s = 0.0
        self._someone_cancelled = False

    def run(self) -> bool:
        """Train to the end, or until nobody wants the result; return whether a job was cancelled meanwhile.

        Raises what ended it early. A job that diverges fails alone.
        """
        pins, reason = pinned(self._attempt, self._data, self._device)
        torch.set_num_threads(pins["threads"])
        persistently(lambda: runs.start_jobs(self._engine, self._attempt, pins, reason))
        with self._watch, self._commits:
            training = self._restored(pins["engine"])
            while not training.finished and self._live:
                self._run_epoch(training)
        return self._someone_cancelled

    # -- during training ---------------------------------------------------------------------------------

    def _run_epoch(self, training: Training) -> None:
        started = time.monotonic()
        try:
            metrics = training.run_epoch(lambda progress: self._between_steps(training, progress))
        except LossNotFinite:
            metrics = {}
        self._training_s += time.monotonic() - started
        if training.failures.keys() & self._live.keys():  # what they had reached before is theirs to keep
            self._let_go(training, self._commits.collected())
        for index in training.failures.keys() & self._live.keys():
            self._end_diverged(index, training.failures[index])
        for index in self._live:
            self._pending[index].append(metrics[index])
        if self._live:
            self._commit(training)

    def _end_diverged(self, index: int, failure: LossNotFinite) -> None:
        member = self._live.pop(index)
        log.info("%s: attempt %d failed: %s", member.job_id, self._attempt.number, failure)
        reason, since = explained(failure, member.spec), self._pending.pop(index)
        persistently(lambda: runs.end_job(self._engine, self._attempt, member.job_id, "failed", reason, since))

    def _between_steps(self, training: Training, progress: StepProgress) -> None:
        self._watch.moved()
        self._around.raise_if_too_long_to_drain(progress)
        self._watch.raise_if_unwanted()
        if self._watch.cancelled:
            cancelled = [index for index, member in self._live.items() if member.job_id in self._watch.cancelled]
            self._let_go(training, dict.fromkeys(cancelled, "cancelled"))
        if not self._watch.wants_progress() and progress.step < progress.steps_per_epoch:
            return
        shared = shown_progress(progress, self._attempt.members[0].spec.epochs, training.images_per_epoch)
        losses = {index: training.running_loss(index, progress.images) for index in self._live}
        self._watch.publish(
            {
                self._live[index].job_id: shared | {"running_loss": loss}
                for index, loss in losses.items()
                if math.isfinite(loss)
            }
        )

    def _let_go(self, training: Training, ended: Ended) -> None:
        """Train these jobs no further."""
        for index, state in ended.items():
            if self._live.pop(index, None) is not None:
                training.drop(index)
            self._someone_cancelled |= state in ("cancelling", "cancelled")

    def _commit(self, training: Training) -> None:
        """Hand the jobs' checkpoints over: each on a CPU, on a GPU some and the last; wait for it if somebody does."""
        awaited = training.finished or self._watch.someone_pauses or self._around.draining()
        if self._on_gpu and not awaited and not self._gpu_commit_is_due():
            return
        self._let_go(training, self._commits.collected())
        self._commits.begin([self._ready(training, index, member) for index, member in self._live.items()])
        if awaited:
            self._let_go(training, self._commits.collected())
        self._committed_at = time.monotonic()
        self._watch.moved()
        self._watch.raise_if_unwanted()
        if self._live and not training.finished and awaited:
            self._around.raise_if_draining()

    def _gpu_commit_is_due(self) -> bool:
        return self._commits.idle and time.monotonic() - self._committed_at >= GPU_COMMIT_INTERVAL_S

    def _ready(self, training: Training, index: int, member: Member) -> Ready:
        snapshot, final = training.snapshot(index), training.finished
        made = Made(
            epochs=self._pending[index],
            diagnostics=self._diagnosed(training, index) if member.spec.diagnostics else None,
            evaluation=training.evaluate(index) if final else None,
        )
        self._pending[index] = []
        return Ready(index, member, snapshot, made, final)

    def _diagnosed(self, training: Training, index: int) -> Diagnostics | None:
        between = training.epoch > 0 and not training.finished
        if self._on_gpu and between and self._diagnosing_s > GPU_DIAGNOSTICS_SHARE * self._training_s:
            return None
        started = time.monotonic()
        found = training.diagnose(index)
        self._diagnosing_s += (time.monotonic() - started) if between else 0.0
        return found

    # -- before training ---------------------------------------------------------------------------------

    def _restored(self, engine: str) -> Training:
        """Return the training at its last whole checkpoint, or a new one whose initial weights are committed."""
        specs, device = [member.spec for member in self._attempt.members], self._device.torch_device
        found = last_snapshots(self._around, self._attempt)
        if found is not None:
            return Training(specs, self._data, device, found, engine)
        training = Training(specs, self._data, device, self._first_snapshots(), engine)
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
        network = member.spec.first_network(training_images(member.spec, self._data))
        return Snapshot(0, network.to_weights(), {})


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
        gc.collect()
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
