"""What came of a job's training, from its rows; see `models.diagnostics.outcome`."""

from __future__ import annotations

from sqlalchemy import Connection, select

from models.diagnostics.outcome import Outcome, TrainingRecord, diverged, outcome_of
from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics, EvaluationRecord
from service.store.tables import checkpoints, diagnostics, epochs, jobs

DIVERGED = "loss-not-finite"


def outcome_in(connection: Connection, job_id: str) -> Outcome | None:
    """Return what came of a job's training; None if it has not ended, or ended before it was trained to its end."""
    job = connection.execute(select(jobs.c.spec, jobs.c.error).where(jobs.c.id == job_id)).one()
    if job.error is not None:
        is_known = job.error["type"] == DIVERGED
        return diverged(job.error["detail"], job.error.get("hint")) if is_known else None
    final = (checkpoints.c.job_id == job_id, checkpoints.c.phase == "train", checkpoints.c.final)
    evaluation = connection.execute(select(checkpoints.c.evaluation).where(*final)).scalar()
    if evaluation is None:
        return None
    metrics = connection.execute(select(epochs.c.metrics).where(epochs.c.job_id == job_id).order_by(epochs.c.epoch))
    first, last = _first_and_last_records(connection, job_id)
    return outcome_of(
        TrainingRecord(
            epochs=job.spec["epochs"],
            optimizer=job.spec["optimizer"]["name"],
            metrics=[EpochMetrics.model_validate(one) for one in metrics.scalars()],
            first=first,
            last=last,
            evaluation=EvaluationRecord.model_validate(evaluation),
        )
    )


def _first_and_last_records(connection: Connection, job_id: str) -> tuple[Diagnostics | None, Diagnostics | None]:
    """Return the layer records of the start and of the last epoch of which there is one."""
    of_job = select(diagnostics.c.epoch, diagnostics.c.data).where(diagnostics.c.job_id == job_id)
    first = connection.execute(of_job.order_by(diagnostics.c.epoch).limit(1)).one_or_none()
    if first is None:
        return None, None
    last = connection.execute(of_job.order_by(diagnostics.c.epoch.desc()).limit(1)).one()
    is_start, is_later = first.epoch == 0, last.epoch > 0
    return (
        Diagnostics.model_validate(first.data) if is_start else None,
        Diagnostics.model_validate(last.data) if is_later else None,
    )
