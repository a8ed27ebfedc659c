"""Aliases: names such as `champion` that mean one checkpoint, and are moved on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert, select, update

from service.errors import InvalidAlias, NotFound, PreconditionFailed
from service.store.checkpoints import ALIAS, ModelRow, find_model_in
from service.store.engine import now, writing
from service.store.events import count_change
from service.store.tables import aliases, jobs

ANY_VERSION = "*"


@dataclass(frozen=True)
class AliasRow:
    """An alias, the checkpoint it means, and how often it was set, which is its version."""

    name: str
    job_id: str
    epoch: int
    version: int
    updated_at: float


def set_alias(engine: Engine, name: str, model: str, if_match: str | None, *, only_new: bool = False) -> AliasRow:
    """Let an alias mean the checkpoint that `model` names now; return it.

    `if_match` is the version that it must have (`*`: any, but it must be there); `only_new`: it must not be there.
    Raises `PreconditionFailed` if it is otherwise, `NotFound` if there is no such model, `InvalidAlias`.
    """
    if not ALIAS.fullmatch(name):
        raise InvalidAlias(f"{name!r} cannot be an alias.", "Use lower-case letters, digits and dashes; not latest.")
    with writing(engine) as connection:
        _hold(connection, find_model_in(connection, model))
        count_change(connection)  # transactions that move names wait for each other here
        before = _found(connection, name)
        _check(before, name, if_match, only_new=only_new)
        target = find_model_in(connection, model)  # again: it may have been swept while this one waited
        job_id, epoch = target.checkpoint.job_id, target.checkpoint.epoch
        if before is None:
            values = {"name": name, "job_id": job_id, "epoch": epoch, "version": 1, "updated_at": now()}
            connection.execute(insert(aliases).values(**values))
        elif (before.job_id, before.epoch) != (job_id, epoch):
            values = {"job_id": job_id, "epoch": epoch, "version": before.version + 1, "updated_at": now()}
            connection.execute(update(aliases).where(aliases.c.name == name).values(**values))
        after = _found(connection, name)
        assert after is not None
        return after


def delete_alias(engine: Engine, name: str, if_match: str | None) -> None:
    """Delete an alias; the model stays. Raises `NotFound`, `PreconditionFailed` as `set_alias` does."""
    with writing(engine) as connection:
        count_change(connection)
        before = _found(connection, name)
        if before is None:
            raise _missing(name)
        _check(before, name, if_match)
        connection.execute(delete(aliases).where(aliases.c.name == name))


def get_alias(engine: Engine, name: str) -> AliasRow:
    """Return one alias. Raises `NotFound`."""
    with engine.connect() as connection:
        found = _found(connection, name)
    if found is None:
        raise _missing(name)
    return found


def list_aliases(engine: Engine, *, after: str | None, limit: int) -> Sequence[AliasRow]:
    """Return up to `limit` aliases by name, after the one `after`."""
    query = select(aliases).order_by(aliases.c.name).limit(limit)
    if after is not None:
        query = query.where(aliases.c.name > after)
    with engine.connect() as connection:
        return [AliasRow(**row) for row in connection.execute(query).mappings()]


def _found(connection: Connection, name: str) -> AliasRow | None:
    row = connection.execute(select(aliases).where(aliases.c.name == name)).mappings().one_or_none()
    return None if row is None else AliasRow(**row)


def _hold(connection: Connection, model: ModelRow) -> None:
    """Keep a model's job from being deleted until the transaction ends."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == model.checkpoint.job_id).with_for_update(read=True))


def _missing(name: str) -> NotFound:
    why = "" if ALIAS.fullmatch(name) else " Aliases are lower-case letters, digits and dashes."
    return NotFound(f"There is no alias {name!r}.{why}", "GET /aliases lists them.")


def _check(before: AliasRow | None, name: str, if_match: str | None, *, only_new: bool = False) -> None:
    if only_new and before is not None:
        raise PreconditionFailed(f"The alias {name!r} is there already (If-None-Match: *).", "Move it with If-Match.")
    if if_match is None:
        return
    if before is None:
        raise PreconditionFailed(
            f"There is no alias {name!r}, so nothing matches If-Match.", "Set it without If-Match."
        )
    if if_match not in (ANY_VERSION, str(before.version)):
        raise PreconditionFailed(
            f"The alias {name!r} is at version {before.version} and means {before.job_id}@{before.epoch}; somebody has "
            f"moved it since version {if_match}.",
            "Look at it again with GET, and send its ETag.",
        )
