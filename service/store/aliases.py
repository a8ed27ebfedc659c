"""Aliases: names such as `champion` that refer to one checkpoint until a client moves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert, select, update

from service.errors import InvalidAlias, NotFound, PreconditionFailed
from service.store.checkpoints import ALIAS, ModelRow, find_model_in
from service.store.descriptions import Versions, has_version
from service.store.engine import now, writing
from service.store.events import count_change
from service.store.tables import aliases, jobs


@dataclass(frozen=True)
class AliasRow:
    """An alias, the checkpoint it refers to, and its version: 1 at first, plus 1 each time it moves."""

    name: str
    job_id: str
    epoch: int
    seq: int
    version: int
    updated_at: float


def set_alias(engine: Engine, name: str, model: str, if_match: Versions | None, *, only_new: bool = False) -> AliasRow:
    """Create an alias of the checkpoint that `model` names now, or move it there; return the alias.

    The alias must have a version of `if_match` (`*`: any, but it must exist); with `only_new` it must not exist.
    Raises `PreconditionFailed` if that does not hold, `NotFound` if there is no such model, and `InvalidAlias`.
    """
    if not ALIAS.fullmatch(name):
        raise InvalidAlias(f"{name!r} cannot be an alias.", "Use lower-case letters, digits and dashes; not latest.")
    with writing(engine) as connection:
        _hold(connection, find_model_in(connection, model))
        count_change(connection)  # serializes the transactions that move names
        before = _found(connection, name)
        _check(before, name, if_match, only_new=only_new)
        target = find_model_in(connection, model)  # again: it may have been deleted during the wait
        place = {name: getattr(target.checkpoint, name) for name in ("job_id", "epoch", "seq")}
        if before is None:
            connection.execute(insert(aliases).values(name=name, **place, version=1, updated_at=now()))
        elif (before.job_id, before.seq) != (place["job_id"], place["seq"]):
            moved = update(aliases).where(aliases.c.name == name)
            connection.execute(moved.values(**place, version=before.version + 1, updated_at=now()))
        after = _found(connection, name)
        assert after is not None
        return after


def delete_alias(engine: Engine, name: str, if_match: Versions | None) -> None:
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
        alias = _found(connection, name)
    if alias is None:
        raise _missing(name)
    return alias


def list_aliases(engine: Engine, *, after: str | None, limit: int) -> Sequence[AliasRow]:
    """Return up to `limit` aliases in order of their names, starting after the name `after`."""
    query = select(aliases).order_by(aliases.c.name).limit(limit)
    if after is not None:
        query = query.where(aliases.c.name > after)
    with engine.connect() as connection:
        return [AliasRow(**row) for row in connection.execute(query).mappings()]


def _found(connection: Connection, name: str) -> AliasRow | None:
    row = connection.execute(select(aliases).where(aliases.c.name == name)).mappings().one_or_none()
    return None if row is None else AliasRow(**row)


def _hold(connection: Connection, model: ModelRow) -> None:
    """Lock a model's job against deletion until the transaction ends."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == model.checkpoint.job_id).with_for_update(read=True))


def _missing(name: str) -> NotFound:
    why = "" if ALIAS.fullmatch(name) else " Aliases are lower-case letters, digits and dashes."
    return NotFound(f"There is no alias {name!r}.{why}", "GET /aliases lists them.")


def _check(before: AliasRow | None, name: str, if_match: Versions | None, *, only_new: bool = False) -> None:
    if only_new and before is not None:
        raise PreconditionFailed(f"The alias {name!r} already exists (If-None-Match: *).", "Move it with If-Match.")
    if if_match is None:
        return
    if before is None:
        raise PreconditionFailed(
            f"There is no alias {name!r}, so nothing matches If-Match.", "Set it without If-Match."
        )
    if not has_version(before.version, if_match):
        raise PreconditionFailed(
            f"The alias {name!r} is at version {before.version} and means {before.job_id}@{before.epoch}; it has "
            f"moved since version {' or '.join(if_match)}.",
            "Fetch it again with GET, and send its ETag.",
        )
