"""The network of the course in NumPy, from an npz of Fanin's weights; every peer serves it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


class Forward:
    """Pixels 0..255 [n, 784] to probabilities [n, 10], ReLU between layers."""

    def __init__(self) -> None:
        with np.load(os.environ["PEER_WEIGHTS"], allow_pickle=False) as arrays:
            count = len(arrays) // 2
            self._layers = [
                (np.ascontiguousarray(arrays[f"layers.{index}.weight"].T), arrays[f"layers.{index}.bias"])
                for index in range(count)
            ]

    def __call__(self, pixels: Any) -> Any:
        """Return the probabilities of images."""
        h = np.asarray(pixels, dtype=np.float32).reshape(-1, 784) / np.float32(255)
        for weight, bias in self._layers[:-1]:
            h = np.maximum(h @ weight + bias, 0)
        z = h @ self._layers[-1][0] + self._layers[-1][1]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)
