"""LitServe: POST /predict {"pixels": [784 numbers]}."""

from __future__ import annotations

import sys
from typing import Any

import litserve
from forward import Forward


class Digits(litserve.LitAPI):
    """The network as a LitServe API."""

    def setup(self, device: str) -> None:
        """Load the weights."""
        self.forward = Forward()

    def decode_request(self, request):  # LitServe would read an annotation as a query parameter
        """Return the pixels of a request."""
        return request["pixels"]

    def predict(self, pixels: Any) -> Any:
        """Return the probabilities."""
        return self.forward(pixels)[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the label and the ten probabilities of an image."""
        return {"label": int(output.argmax()), "probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="error")
