"""Load the compiled kernel: the installed variants, those that this processor can run, and the kernel's structures.

`models/native` is built in up to three variants if Fanin is installed with a C compiler. Without one,
training runs on `models.training.step.StackedStep`, and every job says so. This file mirrors the structures of `step.c`
and `body.h`, field by field.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Literal, NamedTuple

import torch

from models.native import load

BLOCK_ROWS = 32
PACE_FIELDS = 5
"""Of `struct pace`, int64 each."""

Variant = Literal["avx512", "avx2", "baseline"]
RUNS: dict[str, tuple[Variant, ...]] = {"AVX512": ("avx512", "avx2", "baseline"), "AVX2": ("avx2", "baseline")}
"""The variants that a processor runs, best first, by torch's name for its capability."""


class LayerOfKernel(ctypes.Structure):
    """`struct layer`."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("fan_in", "fan_out", "columns", "stride", "at", "transposed_at", "transposed_stride")
    ]


class OptimizerOfKernel(ctypes.Structure):
    """`struct optimizer`."""

    _fields_ = [
        ("kind", ctypes.c_int64),
        *(
            (name, ctypes.c_double)
            for name in ("rate", "weight_decay", "momentum", "beta1", "beta2", "epsilon", "root_of_correction")
        ),
    ]


class ListsOfKernel(ctypes.Structure):
    """`struct lists`."""

    _fields_ = [
        ("places", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("capacity", ctypes.c_int64),
        ("blocks", ctypes.c_int64),
    ]


class StepOfKernel(ctypes.Structure):
    """`struct step`."""

    _fields_ = [
        ("layers", ctypes.c_void_p),
        ("layer_count", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("activation", ctypes.c_int64),
        ("slope", ctypes.c_double),
        ("optimizer", ctypes.c_void_p),
        *(
            (name, ctypes.c_void_p)
            for name in (
                *("values", "gradients", "first_moment", "second_moment", "transposed"),
                *("images", "labels", "chosen", "inputs", "scratch", "h", "dz"),
                *("image_losses", "image_hits", "gathered_images", "gathered_values"),
                *("loss", "loss_sum", "hit_sum"),
            )
        ),
        ("threads", ctypes.c_int64),
        ("pace", ctypes.c_void_p),
    ]


STRUCTURES = (LayerOfKernel, OptimizerOfKernel, ListsOfKernel, StepOfKernel)
LAYOUT = (4, *map(ctypes.sizeof, STRUCTURES), 8 * PACE_FIELDS)


class Kernel(NamedTuple):
    """A loaded variant; its functions are `fanin_steps` of `body.h`."""

    variant: Variant
    float32: ctypes._NamedFuncPointer
    float64: ctypes._NamedFuncPointer


def kernel() -> Kernel | None:
    """Return the best variant that is installed and runs on this processor, or None."""
    return next((loaded for variant in runnable() if (loaded := load_kernel(variant)) is not None), None)


def runnable() -> tuple[Variant, ...]:
    """Return the variants that this processor can run, best first."""
    return RUNS.get(torch.backends.cpu.get_cpu_capability(), ("baseline",))


@cache
def load_kernel(variant: Variant) -> Kernel | None:
    """Return one variant, or None if it was not built. The processor must be able to run it."""
    library = load(f"step_{variant}", LAYOUT)
    if library is None:
        return None
    functions = library.fanin_steps_float32, library.fanin_steps_float64
    for function in functions:
        function.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int64]
        function.restype = ctypes.c_int64
    return Kernel(variant, *functions)
