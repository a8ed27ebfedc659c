"""Failure reasons of jobs, worded for students."""

from __future__ import annotations

from typing import Any

import torch

from models.errors import FaninError
from models.spec import TrainSpec
from service.errors import error_name

FLOAT_BYTES = 4
COPIES_BY_OPTIMIZER = {"adam": 4, "sgd": 3}  # weights, gradients, and the optimizer's state for each
ACTIVATION_COPIES = 3
CPU_OUT_OF_MEMORY = "can't allocate memory"  # torch raises a bare RuntimeError for it


def failure_reason(
    error: Exception, spec: TrainSpec | None = None, device_memory_bytes: int | None = None
) -> dict[str, Any]:
    """Return the reason of a failure as it is stored with the job: `type`, `detail` (the cause) and `hint`.

    If memory ran out, the detail includes the sizes of `spec` and the device's memory in bytes, where given.
    """
    if isinstance(error, FaninError):
        return {"type": error_name(error), "detail": error.detail, "hint": error.hint}
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or CPU_OUT_OF_MEMORY in str(error):
        return {
            "type": "out-of-memory",
            "detail": _sizes(spec, device_memory_bytes) + f" The device reported: {error}",
            "hint": "Use fewer or narrower hidden layers, or a smaller batch.",
        }
    if isinstance(error, OSError):
        return {
            "type": "storage",
            "detail": f"A file could not be read or written: {error}",
            "hint": "Check the free space and the permissions of the folder of checkpoints, then retry the job: "
            "it continues from its last checkpoint.",
        }
    return {
        "type": "internal",
        "detail": f"The worker raised an unexpected error: {type(error).__name__}: {error}",
        "hint": "The worker's log in FANIN_HOME/logs has the details; please report it.",
    }


def _sizes(spec: TrainSpec | None, device_memory_bytes: int | None) -> str:
    text = "The device has too little memory for this model and batch."
    if spec is None:
        return text
    parameters, units = spec.architecture.parameter_count, sum(spec.architecture.sizes)
    copies = COPIES_BY_OPTIMIZER[spec.optimizer.name]
    text += (
        f" The network has {parameters:,} parameters: weights, gradients and the optimizer's state need "
        f"{_mib(FLOAT_BYTES * copies * parameters)}; the activations of a batch of {spec.batch_size} need about "
        f"{_mib(FLOAT_BYTES * ACTIVATION_COPIES * units * spec.batch_size)}."
    )
    return text + (f" The device has {_mib(device_memory_bytes)} in all." if device_memory_bytes else "")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
