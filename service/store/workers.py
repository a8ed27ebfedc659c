"""Workers' heartbeats, all by the database's clock: which workers are live, and on which device."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from service.store.engine import now, writing
from service.store.tables import workers


@dataclass(frozen=True)
class NewBeat:
    """One heartbeat of a worker; `run_id` is the run that it trains now."""

    name: str
    process_id: int
    device_kind: str
    device_name: str
    threads: int
    run_id: str | None


@dataclass(frozen=True)
class WorkerRow(NewBeat):
    """A worker with its last heartbeat; `age_s` is the time since then, by the database's clock."""

    started_at: float
    beat_at: float
    age_s: float


def beat(engine: Engine, new: NewBeat) -> float:
    """Write a heartbeat and return its time, in seconds since 1970 UTC by the database's clock."""
    with writing(engine) as connection:
        instant = float(connection.execute(select(now())).scalar_one())
        change = update(workers).where(workers.c.name == new.name, workers.c.process_id == new.process_id)
        if connection.execute(change.values(beat_at=instant, **vars(new))).rowcount == 0:
            # No row, or that of an earlier process with this name.
            connection.execute(delete(workers).where(workers.c.name == new.name))
            connection.execute(insert(workers).values(started_at=instant, beat_at=instant, **vars(new)))
        return instant


def forget(engine: Engine, names: Collection[str]) -> None:
    """Delete heartbeats: of a worker that stops, or of dead ones."""
    with writing(engine) as connection:
        connection.execute(delete(workers).where(workers.c.name.in_(names)))


def silent(engine: Engine, names: Collection[str], ttl_s: float) -> list[str]:
    """Return those of `names` that have had no heartbeat for `ttl_s`, or none at all, sorted."""
    with engine.connect() as connection:
        heard = select(workers.c.name).where(workers.c.beat_at > now() - ttl_s)
        return sorted(set(names) - set(connection.execute(heard).scalars()))


def is_live(connection: Connection, name: str | None, ttl_s: float) -> bool:
    """Return whether a worker has had a heartbeat within `ttl_s`."""
    heard = select(workers.c.name).where(workers.c.name == name, workers.c.beat_at > now() - ttl_s)
    return connection.execute(heard).first() is not None


def some_gpu_is_live(connection: Connection, ttl_s: float) -> bool:
    """Return whether a worker with a GPU has had a heartbeat within `ttl_s`."""
    heard = select(workers.c.name).where(workers.c.device_kind == "cuda", workers.c.beat_at > now() - ttl_s)
    return connection.execute(heard).first() is not None


def count_live(engine: Engine, ttl_s: float) -> int:
    """Return how many workers have had a heartbeat within `ttl_s`."""
    heard = select(func.count()).where(workers.c.beat_at > now() - ttl_s)
    with engine.connect() as connection:
        return int(connection.execute(heard).scalar_one())


def list_workers(engine: Engine) -> Sequence[WorkerRow]:
    """Return all workers with a row, by name: the live ones, and dead ones whose row no worker has deleted yet."""
    query = select(workers, (now() - workers.c.beat_at).label("age_s")).order_by(workers.c.name)
    with engine.connect() as connection:
        return [WorkerRow(**row) for row in connection.execute(query).mappings()]
