"""The worker's resources that an attempt uses: device, data sets, artifact store, shutdown flag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sqlalchemy import Engine

from models.data.mnist import DataSet
from models.errors import FaninError
from models.progress import StepProgress
from models.spec import TrainSpec
from models.vocabulary import DataChoice
from service.artifacts.store import Artifacts
from service.store.jobs import DeviceChoice

FaultPoint = Literal["restore", "between_steps", "hand_over", "write_files", "commit"]

DRAIN_PATIENCE_S = 5.0
"""How long a stopping worker may still train to finish its epoch."""


@dataclass(frozen=True)
class Device:
    """The device on which a worker trains, its name, and the number of CPU threads."""

    torch_device: torch.device
    name: str
    threads: int

    @property
    def kind(self) -> str:
        """Return cpu or cuda."""
        return self.torch_device.type

    @property
    def kind_asked_for(self) -> DeviceChoice:
        """Return what jobs call it: cpu or gpu."""
        return "gpu" if self.kind == "cuda" else "cpu"

    @property
    def held_memory_bytes(self) -> int | None:
        """Return what this process holds of a GPU's memory, in use or cached; None for the CPU."""
        return int(torch.cuda.memory_reserved(self.torch_device)) if self.kind == "cuda" else None

    @property
    def total_memory_bytes(self) -> int | None:
        """Return the memory of a GPU; None for the CPU, which shares the machine's."""
        if self.kind != "cuda":
            return None
        return int(torch.cuda.get_device_properties(self.torch_device).total_memory)


@dataclass(frozen=True)
class WorkerContext:
    """The resources and callbacks that a worker process passes to its attempts."""

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
        """Raise `Drained` if the worker is stopping and the epoch needs more than `DRAIN_PATIENCE_S` to its end."""
        if not self.draining():
            return
        left_s = progress.seconds * (progress.steps_per_epoch / progress.step - 1)
        if left_s > DRAIN_PATIENCE_S:
            raise Drained("The worker is stopping; the run continues from its last checkpoint.")

    def raise_if_draining(self) -> None:
        """Raise `Drained` if the worker is stopping; to be called when a checkpoint has just been committed."""
        if self.draining():
            raise Drained("The worker is stopping; the run continues from the checkpoint just written.")


def shown_progress(progress: StepProgress, epochs: int, images_per_epoch: int) -> dict[str, Any]:
    """Return the progress of a training or pre-training as the API shows it.

    `percent` counts the images of all `epochs`. `time_left_s` assumes the speed of the current epoch.
    """
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


def shown_preparation(spec: TrainSpec, epoch: int) -> dict[str, Any]:
    """Return the progress of a job with `epoch` epochs behind it whose training is being set up, as the API shows it.

    Weights are drawn or loaded then, and a GPU's kernels of a new shape are compiled, which takes seconds.
    """
    return {
        "phase": "prepare",
        "epoch": min(epoch + 1, spec.epochs),
        "epochs": spec.epochs,
        "step": 0,
        "steps_per_epoch": spec.steps_per_epoch,
        "percent": round(100 * epoch / max(1, spec.epochs), 1),
        "running_loss": None,
        "images_per_s": 0.0,
        "time_left_s": None,
    }


class Drained(FaninError):
    """The worker is stopping, so its attempt ends between two steps."""
