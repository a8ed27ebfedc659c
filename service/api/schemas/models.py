"""Checkpoints, models and aliases as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from models.spec import TrainSpec
from service.http.answers import Answer, timestamp
from service.store.aliases import AliasRow
from service.store.checkpoints import CheckpointRow, ModelRow, Phase


class Checkpoint(Answer):
    """Weights after an epoch; never changed."""

    model: str | None = Field(description="The id to predict with: JOB@EPOCH; null for pre-training.")
    seq: int
    phase: Phase
    epoch: int = Field(description="0: the initial weights. Of pre-training, counted over all layers.")
    final: bool
    attempt: int
    weights_bytes: int = Field(description="Size of the weights file.")
    weights_sha256: str = Field(description="Over the weight tensors alone: equal means bit-identical weights.")
    created_at: datetime


class ModelLinks(Answer):
    """Where to go from a model."""

    self: str
    job: str
    evaluation: str
    predict: str


class Model(Answer):
    """A checkpoint that can be served."""

    id: str = Field(description="The job's id, or JOB@EPOCH for an epoch of it.")
    object: Literal["model"] = "model"
    job_id: str
    epoch: int
    final: bool = Field(description="Whether this is the last epoch of its spec.")
    spec: TrainSpec
    parameter_count: int
    weights_sha256: str = Field(description="Over the weight tensors alone: equal means bit-identical weights.")
    weights_bytes: int = Field(description="Size of the weights file.")
    accuracy: float | None = Field(description="Of the evaluation, if there is one; see `evaluated_on`.")
    evaluated_on: str | None
    created_at: datetime
    links: ModelLinks


class Alias(Answer):
    """A name that means one model, and can be moved."""

    object: Literal["alias"] = "alias"
    name: str
    model: str = Field(description="JOB@EPOCH: exactly these weights.")
    version: int = Field(ge=1, description="How often the alias has been set to another model; also its ETag.")
    updated_at: datetime


def checkpoint_view(row: CheckpointRow) -> Checkpoint:
    """Return a checkpoint as it is shown."""
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
    """Return a model as it is shown; `of_epoch` if it was asked for as JOB@EPOCH."""
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
    """Return an alias as it is shown."""
    model = f"{row.job_id}@{row.epoch}"
    return Alias(name=row.name, model=model, version=row.version, updated_at=timestamp(row.updated_at))
