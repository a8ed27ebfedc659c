"""The device of a slot."""

from __future__ import annotations

import torch

from service.errors import ServiceError
from service.processes.hardware import processor_name
from service.training.context import Device


class GpuUnusable(ServiceError):
    """This slot is a GPU that torch cannot use."""


def device_of(slot: str, threads: int) -> Device:
    """Return the device of a slot such as `cpu-0` or `cuda-1`. Raises `GpuUnusable`."""
    if not slot.startswith("cuda"):
        return Device(torch.device("cpu"), processor_name(), threads)
    if not torch.cuda.is_available():
        raise GpuUnusable(
            f"Slot {slot} is a GPU that torch {torch.__version__} cannot use.",
            "Check the driver, install torch for CUDA, or set CUDA_VISIBLE_DEVICES= to train on the CPU.",
        )
    return Device(torch.device("cuda"), torch.cuda.get_device_name(), threads)
