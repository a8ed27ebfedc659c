"""The description of the model in a prediction's response."""

from __future__ import annotations

from pydantic import Field

from service.http.answers import Answer
from service.store.checkpoints import ModelRow


class PredictedBy(Answer):
    """The model that made a prediction."""

    id: str = Field(description="Id of the model, as JOB@EPOCH.")
    scheme: str
    accuracy: float | None = None
    evaluated_on: str | None = None
    weights_sha256: str


def predicted_by(row: ModelRow) -> PredictedBy:
    """Return the description of a model for the responses of its predictions."""
    checkpoint, evaluation = row.checkpoint, row.checkpoint.evaluation
    return PredictedBy(
        id=f"{checkpoint.job_id}@{checkpoint.epoch}",
        scheme=row.spec.init.scheme,
        accuracy=evaluation.accuracy if evaluation else None,
        evaluated_on=evaluation.evaluated_on if evaluation else None,
        weights_sha256=checkpoint.weights_sha256,
    )
