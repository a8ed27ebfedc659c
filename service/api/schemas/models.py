"""Response models of checkpoints, models and aliases."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from models.spec import TrainSpec
from service.http.answers import Answer, timestamp
from service.store.aliases import AliasRow
from service.store.checkpoints import CheckpointRow, ModelRow, Phase


class Checkpoint(Answer):
    """The weights after an epoch; immutable."""

    model: str | None = Field(description="Model id for predictions, JOB@EPOCH; null for a pre-training checkpoint.")
    seq: int
    phase: Phase
    epoch: int = Field(description="0 is the initial weights; in pre-training counted over all layers.")
    final: bool
    attempt: int
    weights_bytes: int = Field(description="Size of the weights file, in bytes.")
    weights_sha256: str = Field(description="SHA-256 over the weight tensors alone; equal means bit-identical weights.")
    created_at: datetime


class ModelLinks(Answer):
    """Paths of the resources and actions of a model."""

    self: str
    job: str
    evaluation: str
    predict: str


class Model(Answer):
    """A checkpoint that can predict."""

    id: str = Field(description="The job's id, or JOB@EPOCH for one of its epochs.")
    object: Literal["model"] = "model"
    job_id: str
    epoch: int
    final: bool = Field(description="Whether this is the last epoch of its spec.")
    spec: TrainSpec
    parameter_count: int
    weights_sha256: str = Field(description="SHA-256 over the weight tensors alone; equal means bit-identical weights.")
    weights_bytes: int = Field(description="Size of the weights file, in bytes.")
    accuracy: float | None = Field(description="Accuracy on `evaluated_on`; null without an evaluation.")
    evaluated_on: str | None
    created_at: datetime
    links: ModelLinks


class Alias(Answer):
    """A movable name of one model."""

    object: Literal["alias"] = "alias"
    name: str
    model: str = Field(description="The model that the alias names, as JOB@EPOCH.")
    version: int = Field(ge=1, description="Increases when the alias moves to another model; also its ETag.")
    updated_at: datetime


def checkpoint_view(row: CheckpointRow) -> Checkpoint:
    """Return the response model of a checkpoint."""
    return Checkpoint(
        model=f"{row.job_id}@{row.epoch}" if row.phase == "train" else None,
        seq=row.seq,
        phase=row.phase,
        epoch=row.epoch,
        final=row.final,
        attempt=row.attempt,
        weights_bytes=row.weights_bytes,
        weights_sha256=row.weights_sha256,
        created_at=timestamp(row.created_at),
    )


def model_view(row: ModelRow, *, of_epoch: bool) -> Model:
    """Return the response model of a model; with `of_epoch` its id is JOB@EPOCH instead of the job's id."""
    checkpoint, spec = row
    model_id = f"{checkpoint.job_id}@{checkpoint.epoch}" if of_epoch else checkpoint.job_id
    evaluation = checkpoint.evaluation
    return Model(
        id=model_id,
        job_id=checkpoint.job_id,
        epoch=checkpoint.epoch,
        final=checkpoint.final,
        spec=spec,
        parameter_count=spec.architecture.parameter_count,
        weights_sha256=checkpoint.weights_sha256,
        weights_bytes=checkpoint.weights_bytes,
        accuracy=evaluation.accuracy if evaluation else None,
        evaluated_on=evaluation.evaluated_on if evaluation else None,
        created_at=timestamp(checkpoint.created_at),
        links=ModelLinks(
            self=f"/models/{model_id}",
            job=f"/jobs/{checkpoint.job_id}",
            evaluation=f"/models/{model_id}/evaluation",
            predict=f"/predict?model={model_id}",
        ),
    )


def alias_view(row: AliasRow) -> Alias:
    """Return the response model of an alias."""
    model = f"{row.job_id}@{row.epoch}"
    return Alias(name=row.name, model=model, version=row.version, updated_at=timestamp(row.updated_at))
