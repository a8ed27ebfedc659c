"""How much work all workers have done since the database was made: sums that deletions do not lower.

Workers have no port to ask, so their sums are rows. They are incremented in the transactions of the work itself, after
the event counter, in the order of their names.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite

from service.store.engine import now, writing
from service.store.tables import counters, jobs, workers
from service.store.workers import heard_within

Work = Literal["epochs", "epoch_us", "images", "commits", "commit_us", "recoveries", "fences"]
PREFIX = "work."


def add_work(connection: Connection, work: dict[Work, int]) -> None:
    """Add to the sums, in the caller's transaction."""
    rows = [{"name": f"{PREFIX}{name}", "value": value} for name, value in sorted(work.items()) if value]
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    change = dialect.insert(counters).values(rows)
    added = {"value": counters.c.value + change.excluded.value}
    connection.execute(change.on_conflict_do_update(index_elements=[counters.c.name], set_=added))


def note_work(engine: Engine, work: dict[Work, int]) -> None:
    """Add to the sums in a transaction of its own."""
    if any(work.values()):
        with writing(engine) as connection:
            add_work(connection, work)


def work_done(connection: Connection) -> dict[str, int]:
    """Return the sums by name."""
    rows = connection.execute(select(counters).where(counters.c.name.like(f"{PREFIX}%")))
    return {name.removeprefix(PREFIX): int(value) for name, value in rows}


def jobs_by_state(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many jobs there are, by state and by the device that they ask for; without those of which is none."""
    by_state = select(jobs.c.state, jobs.c.device, func.count()).group_by(jobs.c.state, jobs.c.device)
    return {(str(state), str(device)): int(count) for state, device, count in connection.execute(by_state)}


def oldest_queued_s(connection: Connection) -> float:
    """Return for how many seconds the oldest queued job has existed; 0 without one."""
    age = select(now() - func.min(jobs.c.created_at)).where(jobs.c.state == "queued")
    return max(0.0, float(connection.execute(age).scalar() or 0.0))


def gpu_memory(connection: Connection, ttl_s: float) -> dict[str, int]:
    """Return how many bytes of its GPU's memory each live worker holds, by name; without those on CPUs."""
    held = select(workers.c.name, workers.c.gpu_memory_bytes).where(heard_within(ttl_s))
    rows = connection.execute(held.where(workers.c.gpu_memory_bytes.is_not(None)).order_by(workers.c.name))
    return {str(name): int(count) for name, count in rows}


def live_workers(connection: Connection, ttl_s: float) -> dict[tuple[str, bool], int]:
    """Return the number of live workers by the kind of their device and whether they have a run."""
    is_busy = workers.c.run_id.is_not(None)
    query = select(workers.c.device_kind, is_busy, func.count()).where(heard_within(ttl_s))
    return {
        (kind, bool(busy)): count
        for kind, busy, count in connection.execute(query.group_by(workers.c.device_kind, is_busy))
    }
