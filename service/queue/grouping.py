"""Divide the jobs of an experiment into runs: side by side on a GPU, in turns on CPUs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from models.native import kernel_trains

if TYPE_CHECKING:
    from models.spec import TrainSpec

RUN_MEMORY_BYTES = 4 * 2**30
"""The memory that the jobs of a run may need together. The GPU is not known yet when an experiment is divided, and a
small one has 6 GiB. A single job may need more."""
JOBS_IN_TURNS = 8
SECONDS_IN_TURNS = 60.0
"""How long the jobs of a run may take together on a CPU: a job of higher priority waits for the end of the run."""


@dataclass(frozen=True)
class RunLimits:
    """How many jobs a run may have, how many seconds they may take together, and whether they take turns."""

    jobs: int
    seconds: float = math.inf
    in_turns: bool = False

    @classmethod
    def on_cpus(cls, jobs: int, workers: int) -> RunLimits:
        """Return the limits for an experiment of so many jobs: each living worker gets a run, if there are enough."""
        return cls(min(JOBS_IN_TURNS, math.ceil(jobs / max(1, workers))), SECONDS_IN_TURNS, in_turns=True)

    def allow_company(self, spec: TrainSpec) -> bool:
        """Return whether a job may share its run.

        Jobs cannot pre-train together. In turns the compiled kernel alone gives each job the bits that it has alone,
        and a limit of time would count the turns of others.
        """
        if spec.pretrains:
            return False
        network = spec.architecture
        return not self.in_turns or (kernel_trains(network.activation, network.inputs) and spec.max_seconds is None)


class _OpenRun(NamedTuple):
    """A run that may get more jobs: its number, how many, and of how many seconds."""

    number: int
    jobs: int
    seconds: float


def divided(
    specs: Sequence[TrainSpec], limits: RunLimits, seconds_of: Callable[[TrainSpec], float] = lambda _spec: 0.0
) -> list[int]:
    """Return the number of each spec's run, counted from 0.

    A run's specs differ only in scheme and seed, and need no more than `RUN_MEMORY_BYTES` together. Those of the first
    seed come into the first runs, so that schemes are seen side by side. `seconds_of` estimates how long a job takes.
    """
    ranks = {seed: rank for rank, seed in enumerate(dict.fromkeys(spec.seed for spec in specs))}
    open_runs: dict[str, _OpenRun] = {}
    runs, count = [0] * len(specs), 0
    for index in sorted(range(len(specs)), key=lambda index: ranks[specs[index].seed]):
        spec, seconds = specs[index], seconds_of(specs[index])
        kind, may_share = spec.shared_part.model_dump_json(), limits.allow_company(spec)
        run = open_runs.get(kind)
        if run is None or not may_share or run.jobs == 0 or run.seconds < seconds:
            fitting = max(1, RUN_MEMORY_BYTES // spec.memory_bytes)
            run, count = _OpenRun(count, min(limits.jobs, fitting), limits.seconds), count + 1
        runs[index] = run.number
        if may_share:
            open_runs[kind] = _OpenRun(run.number, run.jobs - 1, run.seconds - seconds)
    return runs
