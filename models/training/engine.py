"""Choose the engine of the training steps: compiled kernels where they are faster, torch everywhere else.

On a CPU that is the kernel in C. On a CUDA GPU it is the kernels in Triton; only making such a step imports Triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import EngineMissing
from models.native import kernel_trains
from models.training.kernel_library import Kernel, Variant, kernel, load_kernel, runnable
from models.training.kernel_step import KernelStep
from models.training.torch_step import StackedStep, TorchOptions
from models.training.triton.availability import card_of, why_unavailable
from models.training.triton.plan import unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from models.network.mlp import Network
    from models.spec import TrainSpec
    from models.training.step import Step

STACKED = StackedStep.engine
KERNEL_PREFIX = "sparse-kernel-"
TRITON = "triton-step"


def best_engine(spec: TrainSpec, device: torch.device) -> str:
    """Return the name of the engine that trains a spec fastest on a device; a job reports it, and keeps it."""
    best_kernel = kernel()
    if device.type == "cpu" and best_kernel is not None and _kernel_trains(spec):
        return f"{KERNEL_PREFIX}{best_kernel.variant}"
    return TRITON if why_not_triton(spec, device) is None else STACKED


def why_not_triton(spec: TrainSpec, device: torch.device) -> str | None:
    """Return why the kernels in Triton cannot train a spec on a device of this machine; None if they can."""
    reason = why_unavailable(device)
    if reason is not None:
        return reason
    if spec.architecture.inputs == "standardized":
        return "inputs that are standardized have no kernel"
    return unsupported(spec.architecture.hidden, spec.architecture.activation, card_of(device))


def is_available(engine: str, device: torch.device) -> bool:
    """Return whether this installation, on this processor, can train with an engine on a device."""
    if engine == TRITON:
        return why_unavailable(device) is None
    return engine == STACKED or (device.type == "cpu" and _kernel_of(engine) is not None)


def make_step(engine: str, networks: Sequence[Network], spec: TrainSpec, device: torch.device, pixels: Tensor) -> Step:
    """Return the step of an engine. Raises `EngineMissing` if it is not available here."""
    if engine == STACKED:
        precision = spec.precision if device.type == "cuda" else "float32"
        options = TorchOptions(precision=precision)
        return StackedStep(networks, spec.architecture, spec.optimizer, device, pixels, options)
    if engine == TRITON:
        return _triton_step(networks, spec, device, pixels)
    kernel_of_engine = _kernel_of(engine) if device.type == "cpu" else None
    if kernel_of_engine is None or not _kernel_trains(spec):
        raise EngineMissing(
            f"The engine {engine} cannot train this network on {device.type} here.",
            f"Use {best_engine(spec, device)}; the kernel is built when Fanin is installed with a C compiler.",
        )
    return KernelStep(networks, spec.architecture, spec.optimizer, kernel_of_engine, pixels=pixels)


def _triton_step(networks: Sequence[Network], spec: TrainSpec, device: torch.device, pixels: Tensor) -> Step:
    reason = why_not_triton(spec, device)
    if reason is not None:
        raise EngineMissing(
            f"The engine {TRITON} cannot train this network on {device.type} here: {reason}.",
            f"Use {best_engine(spec, device)}.",
        )
    from models.training.triton.step import Options, TritonStep  # imports Triton, which no other code needs

    options = Options(spec.batch_size, card_of(device), spec.precision)
    return TritonStep(networks, spec.architecture, spec.optimizer, pixels, device, options)


def _kernel_trains(spec: TrainSpec) -> bool:
    return kernel_trains(spec.architecture.activation, spec.architecture.inputs)


def _kernel_of(engine: str) -> Kernel | None:
    wanted: list[Variant] = [variant for variant in runnable() if f"{KERNEL_PREFIX}{variant}" == engine]
    return load_kernel(wanted[0]) if wanted else None
