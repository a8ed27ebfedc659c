"""How memory and the interpreter behave in a worker, where a training shares its cores with its commits.

glibc reads its settings when a process starts, so they are given to it as its environment; what its owner has set
stays. All of this is a matter of speed alone.
"""

from __future__ import annotations

import os
import sys

SETTINGS = {
    # Memory that was freed stays, up to 256 MiB, for the next copy of a network: fresh memory comes page by page, and
    # on a virtual machine a page took 4.5 us, which was half of the time of a copy and a third of that of a record.
    "MALLOC_MMAP_THRESHOLD_": str(64 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}
SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from the training, which needs it for a moment every 50 ms; Python's own
interval is ten times as long, and a core or two would wait for it."""


def worker_environment() -> dict[str, str]:
    """Return the settings a worker process is started with, besides what is set already."""
    return {name: value for name, value in SETTINGS.items() if name not in os.environ}


def prepare_interpreter() -> None:
    """Let the threads of this process take turns as a worker's do."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
