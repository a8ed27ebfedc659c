"""Whether this installation and its GPU can run the kernels: Triton, what it compiles with, and the card.

Triton builds a small C module for each kernel at run time, so it needs a C compiler and Python's headers.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from functools import cache
from pathlib import Path

import torch

from models.training.triton.plan import MIN_CAPABILITY, Card


def card_of(device: torch.device) -> Card:
    """Return the properties of a CUDA device that decide the plan."""
    properties = torch.cuda.get_device_properties(device)
    return Card((properties.major, properties.minor), properties.multi_processor_count)


_failures: list[str] = []


def note_failure(reason: str) -> None:
    """Note that the kernels have failed in this process: from now on `why_unavailable` returns the reason."""
    _failures.append(reason)


def why_unavailable(device: torch.device) -> str | None:
    """Return why no kernel can run on a device of this machine, or None. Imports no Triton."""
    return _failures[0] if _failures else _why_unsuited(device)


@cache
def _why_unsuited(device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"it runs on CUDA GPUs, and the device is {device.type}"
    reason = why_not_compiled()
    if reason is None and torch.version.hip is not None:
        reason = "it is written for CUDA, and this torch is for ROCm"
    if reason is None and not torch.cuda.is_available():
        reason = "torch sees no CUDA GPU"
    if reason is None:
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) < MIN_CAPABILITY:
            reason = f"the GPU has compute capability {major}.{minor}, and 8.0 is needed"
    return reason


@cache
def why_not_compiled() -> str | None:
    """Return why Triton cannot compile kernels on this machine, or None. Asks no device."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not _has_compiler():
        return "there is no C compiler (cc, gcc or clang on the path, or CC)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return f"Python's headers are missing: no Python.h in {sysconfig.get_path('include')}"
    return None


def _has_compiler() -> bool:
    compiler = os.environ.get("CC")
    return (
        shutil.which(compiler) is not None if compiler else any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    )
