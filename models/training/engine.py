"""Which engine takes the training steps: the compiled kernel where it is the faster one, torch everywhere else."""

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
    """Return the name of the engine that trains a spec fastest on a device; jobs tell it, and keep it."""
    found = kernel()
    if device.type == "cpu" and found is not None and spec.architecture.activation in KERNEL_ACTIVATIONS:
        return f"{KERNEL_PREFIX}{found.variant}"
    return STACKED


def is_available(engine: str, device: torch.device) -> bool:
    """Say whether this installation on this processor can train by an engine on a device."""
    return engine == STACKED or (device.type == "cpu" and _kernel_of(engine) is not None)


def make_step(engine: str, networks: Sequence[Network], spec: TrainSpec, device: torch.device, pixels: Tensor) -> Step:
    """Return the step of an engine. Raises `EngineMissing` if it is not available here."""
    if engine == STACKED:
        precision = spec.precision if device.type == "cuda" else "float32"
        return StackedStep(networks, spec.architecture, spec.optimizer, device, pixels=pixels, precision=precision)
    found = _kernel_of(engine) if device.type == "cpu" else None
    if found is None or spec.architecture.activation not in KERNEL_ACTIVATIONS:
        raise EngineMissing(
            f"The engine {engine} cannot train this network on {device.type} here.",
            f"Use {best_engine(spec, device)}; the kernel is built by installing Fanin where a C compiler is.",
        )
    return KernelStep(networks, spec.architecture, spec.optimizer, found, pixels=pixels)


def _kernel_of(engine: str) -> Kernel | None:
    wanted: list[Variant] = [one for one in runnable() if f"{KERNEL_PREFIX}{one}" == engine]
    return load_kernel(wanted[0]) if wanted else None
