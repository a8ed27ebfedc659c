"""Records of each epoch: metrics, layer records, evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from models.diagnostics.report import Diagnostics
from models.results import EpochMetrics, EvaluationRecord, PretrainMetrics
from service.store.attempts import Attempt
from service.store.events import append_event, append_events
from service.store.tables import diagnostics, epochs, jobs, pretrain_epochs


class EpochRecords(NamedTuple):
    """The records of a checkpoint: the metrics of its epochs, its layer records, the evaluation of a final one."""

    epochs: Sequence[EpochMetrics] = ()
    pretraining: PretrainMetrics | None = None
    diagnostics: Diagnostics | None = None
    evaluation: EvaluationRecord | None = None


def insert_records(connection: Connection, attempt: Attempt, job_id: str, records: EpochRecords) -> None:
    """Insert the records of a job's epochs, with an event for each epoch; the last one's loss is the job's."""
    if records.epochs:
        common = {"job_id": job_id, "run_id": attempt.run_id, "attempt": attempt.number}
        rows = [
            common | {"epoch": metrics.epoch, "metrics": metrics.model_dump(mode="json")} for metrics in records.epochs
        ]
        connection.execute(insert(epochs), rows)
        data = [metrics.model_dump(mode="json", exclude_none=True) for metrics in records.epochs]
        append_events(connection, job_id, "job.epoch", data)
        loss = records.epochs[-1].train_loss_mean
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(loss=loss))
    if records.pretraining is not None:
        values = records.pretraining.model_dump(mode="json")
        connection.execute(insert(pretrain_epochs).values(job_id=job_id, number=values["number"], metrics=values))
        append_event(connection, job_id, "job.pretrain_epoch", **values)
    if records.diagnostics is not None:
        values = records.diagnostics.model_dump(mode="json")
        connection.execute(insert(diagnostics).values(job_id=job_id, epoch=values["epoch"], data=values))


def forget_epochs_of_job_after(connection: Connection, job_id: str, epoch: int) -> None:
    """Delete the metrics and layer records of a job's epochs after `epoch`, which is then its last one."""
    for table in (epochs, diagnostics):
        connection.execute(delete(table).where(table.c.job_id == job_id, table.c.epoch > epoch))
    last = select(epochs.c.metrics).where(epochs.c.job_id == job_id).order_by(epochs.c.epoch.desc()).limit(1)
    metrics = connection.execute(last).scalar()
    loss = metrics["train_loss_mean"] if metrics else None
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(epoch=max(0, epoch), loss=loss))
