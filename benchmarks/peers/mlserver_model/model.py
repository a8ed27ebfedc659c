"""MLServer: POST /v2/models/digits/infer, Open Inference Protocol."""

from __future__ import annotations

import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).parents[1]))
from forward import Forward


class Digits(MLModel):
    """The network as an MLServer model."""

    async def load(self) -> bool:
        """Load the weights."""
        self.forward = Forward()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the probabilities of the images of a request."""
        output = self.forward(NumpyCodec.decode_input(payload.inputs[0]))
        encoded = NumpyCodec.encode_output("probabilities", output)
        return InferenceResponse(model_name=self.name, outputs=[encoded])
