"""Open the store of checkpoint files that the settings name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from service.artifacts.folder import Folder
from service.artifacts.store import Artifacts


class Patience(NamedTuple):
    """How many seconds one request to object storage may take, and for how long it is repeated while it fails."""

    request_s: float
    repeat_s: float


BRIEF = Patience(5.0, 3.0)
"""Of a client that waits for an answer."""
PATIENT = Patience(120.0, 600.0)
"""Of a command that copies or compares many files: a short outage, or a slow line, must not end it."""
ENDLESS = Patience(60.0, math.inf)
"""Of a worker: an outage costs a training its time and nothing else."""


def open_artifacts(place: str | Path, patience: Patience = BRIEF) -> Artifacts:
    """Return the object storage at the address `place`, or the store in the folder `place`."""
    if isinstance(place, Path):
        return Folder(place)
    # Imported only where it is used: obstore costs a process 9 MiB.
    from service.artifacts.bucket import Bucket

    return Bucket(place, patience.request_s, patience.repeat_s)
