"""One generator for each purpose, derived from a seed: never a global seed, never a shared stream.

Generators are on the CPU, and their draws are moved to the device afterwards, so that a CPU and a GPU start from the
same weights and see the images in the same order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Purpose = Literal[
    "weights",
    "biases",
    "output",
    "order",
    "rbm_weights",
    "rbm_order",
    "rbm_samples",
    "rbm_shuffle",
    "rbm_judged",
    "output_order",
]


def derived_seed(seed: int, purpose: Purpose, index: int = 0) -> int:
    """Return a 64-bit seed for one purpose (and, for orders and samples, one epoch).

    It is the first 8 bytes of SHA-256 over `seed:purpose:index`, so that neighbouring seeds and epochs
    have unrelated streams.
    """
    digest = hashlib.sha256(f"{seed}:{purpose}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def generator(seed: int, purpose: Purpose, index: int = 0) -> torch.Generator:
    """Return a fresh CPU generator for one purpose; see `derived_seed`."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, purpose, index))
