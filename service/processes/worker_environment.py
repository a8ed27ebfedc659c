"""Memory, interpreter and compiler settings of a worker, which shares its cores with commits. They affect only speed.

glibc reads its settings when a process starts, so they are passed as environment variables. Variables that are already
set are not changed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SETTINGS = {
    # Up to 256 MiB of freed memory is kept for the next copy of a network. Fresh memory comes page by page, and on a
    # virtual machine a page took 4.5 us: half of the time of a copy, and a third of that of a layer record.
    "MALLOC_MMAP_THRESHOLD_": str(64 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}
SWITCH_INTERVAL_S = 0.0005
"""How long another thread may keep the GIL from the training thread, which needs it briefly every 50 ms. Python's
default is ten times as long; the cores that train would wait for it."""


def worker_environment(home: Path) -> dict[str, str]:
    """Return the environment variables to add for a worker process: those that are not set yet.

    Kernels that Triton compiles for a GPU are kept in the service's home, which outlives a container.
    """
    wanted = SETTINGS | {"TRITON_CACHE_DIR": str(home / "triton")}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def prepare_interpreter() -> None:
    """Set the GIL switch interval of this process to a worker's."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
