"""Why a job failed, in words that a student understands."""

from __future__ import annotations

from typing import Any

import torch

from models.errors import FaninError
from service.errors import error_name

CPU_OUT_OF_MEMORY = "can't allocate memory"  # torch raises a bare RuntimeError for it


def explained(error: Exception) -> dict[str, Any]:
    """Return the reason of a failure as it is stored with the job: its type, the cause and the mend."""
    if isinstance(error, FaninError):
        return {"type": error_name(error), "detail": error.detail, "mend": error.mend}
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or CPU_OUT_OF_MEMORY in str(error):
        return {
            "type": "out-of-memory",
            "detail": f"The device has too little memory for this model and batch: {error}",
            "mend": "Use fewer or narrower hidden layers, or a smaller batch.",
        }
    if isinstance(error, OSError):
        return {
            "type": "storage",
            "detail": f"A file could not be read or written: {error}",
            "mend": "Look at the free space and the permissions of FANIN_HOME, then submit the job again.",
        }
    return {
        "type": "internal",
        "detail": f"The worker met an error it does not know: {type(error).__name__}: {error}",
        "mend": "The worker's log in FANIN_HOME/logs has the details; please report it.",
    }
