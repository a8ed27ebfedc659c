"""BentoML: POST /predict {"pixels": [784 numbers]}."""

from __future__ import annotations

from typing import Any

import bentoml
from forward import Forward


@bentoml.service
class Digits:
    """The network as a BentoML service."""

    def __init__(self) -> None:
        self.forward = Forward()

    @bentoml.api
    def predict(self, pixels: list[int]) -> dict[str, Any]:
        """Return the label and the ten probabilities of an image."""
        output = self.forward(pixels)[0]
        return {"label": int(output.argmax()), "probabilities": output.tolist()}
