"""Which jobs of an experiment come into one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.spec import TrainSpec

RUN_MEMORY_BYTES = 4 * 2**30
"""What the jobs of a run may need together; who divides an experiment does not know which GPU will train it, and 6 GiB
are little for one. A single job may need more."""


def divided(specs: Sequence[TrainSpec], jobs_per_run: int) -> list[int]:
    """Return the number of the run that each spec comes into, from 0.

    A run has at most `jobs_per_run` specs, and no more than fit into `RUN_MEMORY_BYTES`, all alike but for scheme and
    seed. Pre-training is not done side by side, so that a spec which pre-trains has a run of its own.
    """
    open_runs: dict[str, tuple[int, int]] = {}
    found, count = [], 0
    for spec in specs:
        kind = spec.shared_part.model_dump_json()
        run, room = open_runs.get(kind, (0, 0))
        if room == 0 or spec.pretrains:
            fitting = max(1, RUN_MEMORY_BYTES // spec.memory_bytes)
            run, room, count = count, min(jobs_per_run, fitting), count + 1
        if not spec.pretrains:
            open_runs[kind] = (run, room - 1)
        found.append(run)
    return found
