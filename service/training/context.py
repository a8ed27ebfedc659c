"""What attempts need of the process that makes them: the worker's device, data, files and wishes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sqlalchemy import Engine

from models.data.mnist import DataSet
from models.errors import FaninError
from models.progress import StepProgress
from models.vocabulary import DataChoice
from service.artifacts import Artifacts

FaultPoint = Literal["restore", "between_steps", "hand_over", "write_files", "commit"]

DRAIN_PATIENCE_S = 5.0
"""How long a worker that is asked to stop may still train, to finish the epoch."""


@dataclass(frozen=True)
class Device:
    """Where a worker trains."""

    torch_device: torch.device
    name: str
    threads: int

    @property
    def kind(self) -> str:
        """Return cpu or cuda."""
        return self.torch_device.type

    @property
    def total_memory_bytes(self) -> int | None:
        """Return the memory of a GPU; None for the CPU, which shares the machine's."""
        if self.kind != "cuda":
            return None
        return int(torch.cuda.get_device_properties(self.torch_device).total_memory)


@dataclass(frozen=True)
class WorkerContext:
    """What attempts need of the process that makes them."""

    engine: Engine
    artifacts: Artifacts
    worker: str
    device: Device
    load_data: Callable[[DataChoice], DataSet]
    draining: Callable[[], bool] = lambda: False
    end_process: Callable[[], None] = lambda: None
    stall_limit_s: float = 600.0
    checkpoints_kept: int | None = None
    fault_hook: Callable[[FaultPoint], None] = lambda _point: None
    """Called at points at which a worker may die; a test raises there to see that nothing is lost."""

    def raise_if_too_long_to_drain(self, progress: StepProgress) -> None:
        """Raise `Drained` if the worker is to stop and the epoch would take longer than may be waited for."""
        if not self.draining():
            return
        left_s = progress.seconds * (progress.steps_per_epoch / progress.step - 1)
        if left_s > DRAIN_PATIENCE_S:
            raise Drained("The worker was asked to stop; the run goes on from its last checkpoint.")

    def raise_if_draining(self) -> None:
        """Raise `Drained` if the worker is to stop, now that a checkpoint is committed."""
        if self.draining():
            raise Drained("The worker was asked to stop; the run goes on from the checkpoint it has just written.")


def shown_progress(progress: StepProgress, epochs: int, images_per_epoch: int) -> dict[str, Any]:
    """Return where a training or pre-training of so many epochs stands, as it is shown."""
    per_second = progress.images / progress.seconds
    done, total = (progress.epoch - 1) * images_per_epoch + progress.images, epochs * images_per_epoch
    return {
        "epoch": progress.epoch,
        "epochs": epochs,
        "step": progress.step,
        "steps_per_epoch": progress.steps_per_epoch,
        "percent": round(100 * done / total, 1),
        "images_per_s": round(per_second, 1),
        "time_left_s": round((total - done) / per_second, 1),
    }


class Drained(FaninError):
    """The worker was asked to stop between two steps."""
