"""Response models of workers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.http.answers import Answer, timestamp
from service.store.workers import WorkerRow


class WorkerView(Answer):
    """A worker process, which serves one device slot of one machine."""

    name: str = Field(description="As node:slot.")
    object: Literal["worker"] = "worker"
    is_live: bool = Field(description="Whether its last heartbeat is younger than FANIN_WORKER_TTL_S.")
    last_heard_s: float = Field(description="Seconds since its last heartbeat, by the database's clock.")
    device_kind: str = Field(description="cpu or cuda.")
    device_name: str
    threads: int = Field(description="CPU threads.")
    run_id: str | None = Field(description="The run in training; null if the worker is idle.")
    started_at: datetime


def worker_view(row: WorkerRow, ttl_s: float) -> WorkerView:
    """Return the response model of a worker; `ttl_s` is the age of a heartbeat from which it counts as dead."""
    return WorkerView(
        name=row.name,
        is_live=row.is_live(ttl_s),
        last_heard_s=max(0.0, round(row.age_s, 3)),
        device_kind=row.device_kind,
        device_name=row.device_name,
        threads=row.threads,
        run_id=row.run_id,
        started_at=timestamp(row.started_at),
    )
