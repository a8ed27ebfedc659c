"""What came of a job's training, from its rows; see `models.diagnostics.outcome`.

The rows may be of an older version, and an outcome decides nothing: what it cannot read of them it leaves out.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, select

from models.diagnostics.outcome import Ending, Outcome, diverged, outcome_of
from service.store.tables import checkpoints, diagnostics, epochs, jobs

log = logging.getLogger(__name__)

DIVERGED = "loss-not-finite"


def outcome_in(connection: Connection, job_id: str) -> Outcome | None:
    """Return what came of a job's training; None if it has not ended, was not trained to its end, or cannot be read."""
    job = connection.execute(select(jobs.c.spec, jobs.c.error).where(jobs.c.id == job_id)).one_or_none()
    if job is None:
        return None
    if job.error is not None:
        is_known = job.error.get("type") == DIVERGED
        return diverged(job.error["detail"], job.error.get("hint")) if is_known else None
    final = (checkpoints.c.job_id == job_id, checkpoints.c.phase == "train", checkpoints.c.final)
    evaluation = connection.execute(select(checkpoints.c.evaluation).where(*final)).scalar()
    if evaluation is None:
        return None
    of_job = select(epochs.c.metrics).where(epochs.c.job_id == job_id).order_by(epochs.c.epoch)
    metrics = list(connection.execute(of_job).scalars())
    records = select(diagnostics.c.epoch, diagnostics.c.data).where(diagnostics.c.job_id == job_id)
    first = connection.execute(records.order_by(diagnostics.c.epoch).limit(1)).one_or_none()
    last = connection.execute(records.order_by(diagnostics.c.epoch.desc()).limit(1)).one_or_none()
    try:
        return outcome_of(
            _ending(
                job.spec,
                evaluation,
                metrics,
                first.data if first is not None and first.epoch == 0 else None,
                last.data if last is not None and last.epoch > 0 else None,
            )
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        log.warning("%s: its outcome cannot be read from its rows", job_id, exc_info=True)
        return None


def _ending(spec: Any, evaluation: Any, metrics: list[Any], first: Any, last: Any) -> Ending:
    """Return an ending from rows; `first` and `last` are the layer records before and after training, or None."""
    losses = [(one["epoch"], one["validation_loss"]) for one in metrics if one.get("validation_loss") is not None]
    ratios = [layer.get("update_ratio") for layer in last.get("layers", [])] if last else []
    return Ending(
        epochs=spec["epochs"],
        optimizer=spec["optimizer"]["name"],
        pretrains=spec["init"]["scheme"] == "dbn",
        accuracy=evaluation["accuracy"],
        n=evaluation["n"],
        evaluated_on=evaluation["evaluated_on"],
        chance=max((one["n"] for one in evaluation["per_class"]), default=0) / evaluation["n"],
        validation_losses=losses,
        train_accuracy=metrics[-1].get("train_accuracy") if metrics else None,
        first_verdict=first.get("verdict") if first else None,
        last_verdict=last.get("verdict") if last else None,
        update_ratio=max((ratio for ratio in ratios if ratio is not None), default=None),
    )
