"""Libraries that are compiled from C if Fanin is installed with a C compiler; every caller has a fallback.

`models.training.kernel_library` uses them for training steps, `models.inference.compiled_forward` for predictions.
"""

from __future__ import annotations

import ctypes
import importlib.util
import warnings
from collections.abc import Sequence

from models.vocabulary import Activation, InputScaling

ACTIVATIONS: tuple[Activation, ...] = (
    *("relu", "leaky_relu", "softsign", "identity"),
    *("tanh", "sigmoid", "selu", "gelu", "scaled_tanh"),
)
"""In the order of their numbers in `listed_rows.h`."""
KERNEL_ACTIVATIONS = ACTIVATIONS[:4]
"""Those of the training kernel; for the others torch's vectorized exponentials are faster."""


def kernel_trains(activation: Activation, inputs: InputScaling) -> bool:
    """Return whether the training kernel has such networks: it skips inputs of 0, which standardized pixels are not."""
    return activation in KERNEL_ACTIVATIONS and inputs == "zero_to_one"


def load(name: str, layout: Sequence[int]) -> ctypes.CDLL | None:
    """Return a library of this folder, or None if it was not built or its structures are of another version."""
    spec = importlib.util.find_spec(f"models.native.{name}")
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    if not _has_layout(library, layout):
        warnings.warn(
            f"{spec.origin} is of another version of Fanin and is not used: install Fanin again.", stacklevel=2
        )
        return None
    return library


def _has_layout(library: ctypes.CDLL, layout: Sequence[int]) -> bool:
    try:
        return list((ctypes.c_int64 * len(layout)).in_dll(library, "fanin_layout")) == list(layout)
    except ValueError:
        return False
