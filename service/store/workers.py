"""Workers' heartbeats, all by the database's clock: which workers are live, and on which device."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import ServiceError
from service.store.engine import now, writing
from service.store.tables import workers


@dataclass(frozen=True)
class NewBeat:
    """One heartbeat of a worker; `run_id` is the run that it trains now.

    `instance` is random and the same for all heartbeats of a process; `leaving` says that it is stopping.
    `gpu_memory_bytes` is what it holds of its GPU's memory; None on a CPU.
    """

    name: str
    process_id: int
    device_kind: str
    device_name: str
    threads: int
    run_id: str | None
    instance: str = ""
    leaving: bool = False
    gpu_memory_bytes: int | None = None


class NameLost(ServiceError):
    """Another instance has taken the name of this one, which was silent for a lifetime."""


@dataclass(frozen=True, kw_only=True)
class WorkerRow(NewBeat):
    """A worker with its last heartbeat; `age_s` is the time since then, by the database's clock."""

    started_at: float
    beat_at: float
    age_s: float

    def is_live(self, ttl_s: float) -> bool:
        """Return whether the last heartbeat was within `ttl_s`; one in the future is of before the clock went back."""
        return abs(self.age_s) < ttl_s


def beat(engine: Engine, new: NewBeat) -> float:
    """Write a heartbeat and return its time, in seconds since 1970 UTC by the database's clock.

    Raises `NameLost` if another instance has taken the name.
    """
    with writing(engine) as connection:
        instant = float(connection.execute(select(now())).scalar_one())
        mine = update(workers).where(workers.c.name == new.name, workers.c.instance == new.instance)
        if connection.execute(mine.values(beat_at=instant, **vars(new))).rowcount == 0:
            if connection.execute(select(workers.c.name).where(workers.c.name == new.name)).first() is not None:
                raise NameLost(f"Another process has taken the name {new.name}.")
            connection.execute(insert(workers).values(started_at=instant, beat_at=instant, **vars(new)))
        return instant


def take_name(engine: Engine, new: NewBeat, before: str | None) -> bool:
    """Write the first heartbeat of an instance in place of the instance `before` (None: of no row).

    Return False, and write nothing, if the row has another instance by now.
    """
    with writing(engine) as connection:
        instant = float(connection.execute(select(now())).scalar_one())
        found = connection.execute(select(workers.c.instance).where(workers.c.name == new.name)).scalar()
        if found != before:
            return False
        connection.execute(delete(workers).where(workers.c.name == new.name))
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        row = dialect.insert(workers).values(started_at=instant, beat_at=instant, **vars(new))
        connection.execute(row.on_conflict_do_nothing())  # another process may insert the name at the same moment
        holder = select(workers.c.instance).where(workers.c.name == new.name)
        return bool(connection.execute(holder).scalar_one() == new.instance)


def find(engine: Engine, name: str) -> WorkerRow | None:
    """Return the row of a worker's name, if there is one."""
    query = select(workers, (now() - workers.c.beat_at).label("age_s")).where(workers.c.name == name)
    with engine.connect() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else WorkerRow(**row)


def leave(engine: Engine, name: str, instance: str) -> None:
    """Delete the row of a worker that stops, if the name is still its own."""
    with writing(engine) as connection:
        connection.execute(delete(workers).where(workers.c.name == name, workers.c.instance == instance))


def forget(engine: Engine, names: Collection[str], ttl_s: float) -> None:
    """Delete the rows of dead workers that have not been heard of for `ttl_s`."""
    with writing(engine) as connection:
        connection.execute(delete(workers).where(workers.c.name.in_(names), ~heard_within(ttl_s)))


def silent(engine: Engine, names: Collection[str], ttl_s: float) -> list[str]:
    """Return those of `names` that have had no heartbeat for `ttl_s`, or none at all, sorted."""
    with engine.connect() as connection:
        heard = select(workers.c.name).where(heard_within(ttl_s))
        return sorted(set(names) - set(connection.execute(heard).scalars()))


def is_live(connection: Connection, name: str | None, ttl_s: float) -> bool:
    """Return whether a worker has had a heartbeat within `ttl_s`."""
    heard = select(workers.c.name).where(workers.c.name == name, heard_within(ttl_s))
    return connection.execute(heard).first() is not None


def some_gpu_is_live(connection: Connection, ttl_s: float) -> bool:
    """Return whether a worker with a GPU has had a heartbeat within `ttl_s`."""
    heard = select(workers.c.name).where(workers.c.device_kind == "cuda", heard_within(ttl_s))
    return connection.execute(heard).first() is not None


def count_live(connection: Connection, ttl_s: float, device: str = "any") -> int:
    """Return how many workers that take jobs of a device (any, cpu, gpu) have had a heartbeat within `ttl_s`."""
    heard = select(func.count()).where(heard_within(ttl_s))
    if device != "any":
        heard = heard.where(workers.c.device_kind == {"cpu": "cpu", "gpu": "cuda"}[device])
    return int(connection.execute(heard).scalar_one())


def heard_within(ttl_s: float) -> ColumnElement[bool]:
    """Return the condition that a worker has had a heartbeat within `ttl_s`, as `WorkerRow.is_live`."""
    return workers.c.beat_at.between(now() - ttl_s, now() + ttl_s)


def list_workers(engine: Engine) -> Sequence[WorkerRow]:
    """Return all workers with a row, by name: the live ones, and dead ones whose row no worker has deleted yet."""
    query = select(workers, (now() - workers.c.beat_at).label("age_s")).order_by(workers.c.name)
    with engine.connect() as connection:
        return [WorkerRow(**row) for row in connection.execute(query).mappings()]
