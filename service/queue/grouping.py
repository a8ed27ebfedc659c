"""Divide the jobs of an experiment into runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.spec import TrainSpec

RUN_MEMORY_BYTES = 4 * 2**30
"""The memory that the jobs of a run may need together. The GPU is not known yet when an experiment is divided, and a
small one has 6 GiB. A single job may need more."""


def divided(specs: Sequence[TrainSpec], jobs_per_run: int) -> list[int]:
    """Return the number of each spec's run, counted from 0.

    A run has at most `jobs_per_run` specs, and no more than fit into `RUN_MEMORY_BYTES`; they differ only in scheme and
    seed. Jobs cannot pre-train together, so a spec that pre-trains has its own run.
    """
    open_runs: dict[str, tuple[int, int]] = {}
    run_numbers, count = [], 0
    for spec in specs:
        kind = spec.shared_part.model_dump_json()
        run, room = open_runs.get(kind, (0, 0))
        if room == 0 or spec.pretrains:
            fitting = max(1, RUN_MEMORY_BYTES // spec.memory_bytes)
            run, room, count = count, min(jobs_per_run, fitting), count + 1
        if not spec.pretrains:
            open_runs[kind] = (run, room - 1)
        run_numbers.append(run)
    return run_numbers
