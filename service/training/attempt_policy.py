"""Make an attempt at a run and decide what its failure means: a retry, another worker, or failed jobs."""

from __future__ import annotations

import gc
import logging
import os
from functools import partial

import torch
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.data.mnist import DataSet
from models.errors import DataDamaged, DataMissing, FaninError, Interrupted
from service.errors import Fenced, NotFound, Unavailable
from service.log_context import working_on
from service.store import runs
from service.store.attempts import Attempt
from service.store.outages import retry_while_unreachable
from service.store.work_counts import note_work
from service.training.attempt_log import FEW, AttemptLog
from service.training.context import Drained, WorkerContext
from service.training.failure_reasons import failure_reason
from service.training.run_attempt import RunAttempt

log = logging.getLogger(__name__)

MAX_ATTEMPTS_WITHOUT_CHECKPOINT = 3
RETRYABLE_ERRORS = (SQLAlchemyError, Unavailable, Drained, torch.AcceleratorError)
"""Failures of the environment, not of the job: the database or the files are out of reach, the worker is stopping, or a
GPU's driver has failed (every later call in this process would fail too). The run stays in the queue; the limit of
attempts ends a run that fails like this repeatedly."""


class LacksData(FaninError):
    """This worker lacks the data of the earlier attempts; another worker may have it."""


def make_attempt(context: WorkerContext, run_id: str) -> bool:
    """Make one attempt at a run and end its jobs; return whether there was anything to do.

    Raises one of `RETRYABLE_ERRORS`, after which the process should restart, and `LacksData` if another worker should
    make the attempt.
    """
    engine = context.engine
    try:
        attempt = retry_while_unreachable(lambda: runs.begin_attempt(engine, run_id, context.worker, os.getpid()))
    except NotFound:
        log.info("%s: its jobs have been deleted or moved to a new run", run_id)
        return False
    if not attempt.members:
        log.info("%s: nothing left to do", run_id)
        return False
    job_ids = [member.job_id for member in attempt.members]
    kept = AttemptLog(context.artifacts, attempt.number, job_ids, context.worker)
    shown = job_ids if len(job_ids) <= FEW else len(job_ids)
    with working_on(run=run_id, attempt=attempt.number, jobs=shown), kept:
        log.info("%s: attempt %d begins on %s", run_id, attempt.number, context.worker)
        for job_id, request_id in retry_while_unreachable(lambda: runs.requests_of(engine, job_ids)).items():
            log.info("%s came with the request %s", job_id, request_id)
        if _attempted(context, attempt):
            _tell_released(context, attempt)
    return True


def _attempted(context: WorkerContext, attempt: Attempt) -> bool:
    """Carry out an attempt; return whether a job of it may have been cancelled."""
    run_id, engine = attempt.run_id, context.engine
    try:
        _check_attempts(attempt)
        cancelled = RunAttempt(context, attempt, _load_data(context, attempt)).run()
        log.info("%s: attempt %d has ended", run_id, attempt.number)
    except Interrupted as error:
        log.info("%s: attempt %d stopped: %s", run_id, attempt.number, error)
        return True
    except Fenced as error:
        log.info("%s: attempt %d stopped: %s", run_id, attempt.number, error)
        retry_while_unreachable(lambda: note_work(engine, {"fences": 1}))
    except Drained:
        runs.uncount_attempt(engine, attempt)
        raise
    except (*RETRYABLE_ERRORS, LacksData) as error:
        _note(engine, attempt, error)
        raise
    except Exception as error:
        if not isinstance(error, FaninError):
            log.exception("%s: attempt %d failed", run_id, attempt.number)
        _fail(context, attempt, error)
    else:
        return cancelled
    return False


def _load_data(context: WorkerContext, attempt: Attempt) -> DataSet:
    if attempt.pins is None:
        return context.load_data(attempt.members[0].spec.data)
    try:
        data = context.load_data(attempt.pins["data"])
    except (DataMissing, DataDamaged) as error:
        raise LacksData(f"{context.worker} cannot read {attempt.pins['data']}: {error.detail}", error.hint) from error
    if data.sha256 != attempt.pins["data_sha256"]:
        raise LacksData(
            f"{context.worker} has files of {data.name} that differ from those of the first attempt.",
            "Give all machines the same files.",
        )
    return data


def _tell_released(context: WorkerContext, attempt: Attempt) -> None:
    """Free the device memory of the stopped training, and record that in an event of each cancelled job."""
    held_bytes = 0
    if context.device.kind == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        held_bytes = context.device.held_memory_bytes or 0
    runs.report_released(context.engine, attempt, worker=context.worker, device_memory_held_bytes=held_bytes)


def _note(engine: Engine, attempt: Attempt, error: Exception) -> None:
    """Store the reason for the next attempt to report, if the database accepts it."""
    try:
        runs.note_error(engine, attempt, failure_reason(error))
    except (SQLAlchemyError, Fenced) as second:
        log.warning("%s: the reason for its end could not be stored: %s", attempt.run_id, second)


def _fail(context: WorkerContext, attempt: Attempt, error: Exception) -> None:
    reason = failure_reason(error, attempt.members[0].spec, context.device.total_memory_bytes)
    try:
        for member in attempt.members:
            retry_while_unreachable(partial(runs.end_job, context.engine, attempt, member.job_id, "failed", reason))
    except Fenced as fenced:
        log.info("%s: attempt %d failed after it was taken over: %s", attempt.run_id, attempt.number, fenced)


def _check_attempts(attempt: Attempt) -> None:
    if attempt.attempts_without_checkpoint <= MAX_ATTEMPTS_WITHOUT_CHECKPOINT:
        return
    last = attempt.previous or {"attempt": attempt.number - 1, "detail": "It was stopped."}
    raise TooManyAttempts(
        f"{MAX_ATTEMPTS_WITHOUT_CHECKPOINT} attempts in a row ended before they could write a checkpoint. The last, "
        f"attempt {last['attempt']}: {last['detail']}",
        last.get("hint") or "See the worker's log; if it ran out of memory, use a smaller model or batch.",
    )


class TooManyAttempts(FaninError):
    """The run had too many attempts without a new checkpoint."""
