"""The result of a preview of a scheme. Values only; this file does not import torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.diagnostics.report import Diagnostics
from models.spec import TrainSpec

BEFORE_PRETRAINING = (
    "dbn learns its weights before training; these are the weights that pre-training starts from. Train with "
    '"epochs": 0 to see those that it ends with.'
)


class Preview(BaseModel):
    """A network as its scheme fills it, before any training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    object: Literal["preview"] = "preview"
    spec: TrainSpec = Field(description="The spec that was previewed.")
    data: str = Field(description="Data set; layers are measured on its first 512 training images.")
    note: str | None = Field(description="A remark on how this scheme starts; null where there is none.")
    diagnostics: Diagnostics
