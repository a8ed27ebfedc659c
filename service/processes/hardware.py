"""The cores, GPUs and CPU model that a process can use, found without loading torch."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
from pathlib import Path

QUESTION_LIMIT_S = 20.0
CGROUP_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
CPU_INFO = Path("/proc/cpuinfo")


def usable_cores() -> int:
    """Return the number of cores that this process may use: its affinity, and the limit of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_CPU_LIMIT.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, math.ceil(int(quota) / int(period))))


def visible_gpus() -> list[str]:
    """Return the CUDA names of the GPUs that this process may use.

    These are the entries of `CUDA_VISIBLE_DEVICES` if it is set (empty: none), else all GPUs that `nvidia-smi` lists.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() and name.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        listed = subprocess.run(  # noqa: S603 - a fixed query to the driver's own tool
            [tool, "-L"], capture_output=True, text=True, timeout=QUESTION_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(index) for index in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]


def processor_name() -> str:
    """Return the model of the CPU."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
