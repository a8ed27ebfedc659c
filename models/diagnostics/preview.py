"""What a preview of a scheme says. Values only; this file does not import torch."""

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
    spec: TrainSpec = Field(description="The spec whose start this is.")
    data: str = Field(description="Whose first 512 training images the layers were looked at with.")
    note: str | None = Field(description="What else there is to know of this scheme's start.")
    diagnostics: Diagnostics
