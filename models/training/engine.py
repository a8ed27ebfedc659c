"""Choose the engine of the training steps: the compiled kernel where it is faster, torch everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import EngineMissing
from models.training.kernel_library import KERNEL_ACTIVATIONS, Kernel, Variant, kernel, load_kernel, runnable
from models.training.kernel_step import KernelStep
from models.training.step import StackedStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from models.network.mlp import Network
    from models.spec import TrainSpec
    from models.training.step import Step

STACKED = StackedStep.engine
KERNEL_PREFIX = "sparse-kernel-"


def best_engine(spec: TrainSpec, device: torch.device) -> str:
    """Return the name of the engine that trains a spec fastest on a device; a job reports it, and keeps it."""
    best_kernel = kernel()
    if device.type == "cpu" and best_kernel is not None and spec.architecture.activation in KERNEL_ACTIVATIONS:
        return f"{KERNEL_PREFIX}{best_kernel.variant}"
    return STACKED


def is_available(engine: str, device: torch.device) -> bool:
    """Return whether this installation, on this processor, can train with an engine on a device."""
    return engine == STACKED or (device.type == "cpu" and _kernel_of(engine) is not None)


def make_step(engine: str, networks: Sequence[Network], spec: TrainSpec, device: torch.device, pixels: Tensor) -> Step:
    """Return the step of an engine. Raises `EngineMissing` if it is not available here."""
    if engine == STACKED:
        precision = spec.precision if device.type == "cuda" else "float32"
        return StackedStep(networks, spec.architecture, spec.optimizer, device, pixels=pixels, precision=precision)
    kernel_of_engine = _kernel_of(engine) if device.type == "cpu" else None
    if kernel_of_engine is None or spec.architecture.activation not in KERNEL_ACTIVATIONS:
        raise EngineMissing(
            f"The engine {engine} cannot train this network on {device.type} here.",
            f"Use {best_engine(spec, device)}; the kernel is built when Fanin is installed with a C compiler.",
        )
    return KernelStep(networks, spec.architecture, spec.optimizer, kernel_of_engine, pixels=pixels)


def _kernel_of(engine: str) -> Kernel | None:
    wanted: list[Variant] = [variant for variant in runnable() if f"{KERNEL_PREFIX}{variant}" == engine]
    return load_kernel(wanted[0]) if wanted else None
