"""What a job may cost at most: larger ones are refused before they are queued, with the estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.errors import JobTooLarge

if TYPE_CHECKING:
    from models.spec import TrainSpec

GIB = 2**30


@dataclass(frozen=True)
class JobLimits:
    """The largest accepted estimates of one job; see `Settings` for the defaults of a service."""

    memory_bytes: int = 16 * GIB
    seconds: float = 7 * 24 * 3600.0
    checkpoint_bytes: int = 64 * GIB

    def check(self, spec: TrainSpec, estimated_s: float | None) -> None:
        """Raise `JobTooLarge` with the first estimate that is too large.

        `estimated_s` is None as long as no job has shown how fast the workers are; the time is then not limited.
        """
        if spec.memory_bytes > self.memory_bytes:
            raise JobTooLarge(
                f"The training needs about {spec.memory_bytes / GIB:,.1f} GiB of memory; "
                f"{self.memory_bytes / GIB:,.1f} are accepted (FANIN_MAX_JOB_BYTES).",
                "Use fewer or narrower hidden layers, or a smaller batch_size.",
            )
        if spec.checkpoint_bytes > self.checkpoint_bytes:
            raise JobTooLarge(
                f"The checkpoints of {spec.epochs:,} epochs need about {spec.checkpoint_bytes / GIB:,.1f} GiB; "
                f"{self.checkpoint_bytes / GIB:,.1f} are accepted (FANIN_MAX_CHECKPOINT_BYTES).",
                "Train fewer epochs, or a smaller network.",
            )
        expected_s = None if estimated_s is None else min(estimated_s, spec.max_seconds or estimated_s)
        if expected_s is not None and expected_s > self.seconds:
            raise JobTooLarge(
                f"The training would take about {expected_s:,.0f} s; {self.seconds:,.0f} are accepted "
                "(FANIN_MAX_JOB_SECONDS).",
                "Train fewer epochs or a smaller network, or set max_seconds to end it with its last checkpoint.",
            )
