"""A hold on the files of all checkpoints: while a backup copies them, no process deletes any."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, func, insert, select, update

from service.store.engine import now, writing
from service.store.events import count_change
from service.store.tables import counters

FILES_HELD = "files_held_until"


def hold_files(engine: Engine, seconds: float) -> None:
    """Let no process delete files of checkpoints for some seconds from now. Orphans wait for a sweep.

    A longer hold of another backup stays; 0 seconds end all holds.
    """
    with writing(engine) as connection:
        count_change(connection)  # waits for a commit in progress; a later one sees the hold
        until = func.ceil(now() + seconds) if seconds else 0
        change = update(counters).where(counters.c.name == FILES_HELD)
        if seconds:
            change = change.where(counters.c.value < until)
        found = connection.execute(select(counters.c.name).where(counters.c.name == FILES_HELD)).first()
        if found is None:
            connection.execute(insert(counters).values(name=FILES_HELD, value=until))
        else:
            connection.execute(change.values(value=until))


def files_are_held(connection: Connection) -> bool:
    """Return whether a backup is copying files now."""
    held = select(counters.c.name).where(counters.c.name == FILES_HELD, counters.c.value > now())
    return connection.execute(held).first() is not None
