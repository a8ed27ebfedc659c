"""The version of the database's tables: create, upgrade and require them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, text

from service.errors import DatabaseNotReady, DatabaseTooNew
from service.store.engine import writing
from service.store.space import prepare

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATION_LOCK = 0xFA919  # any number that no other application of the database uses


def migrate(engine: Engine, revision: str = "head") -> None:
    """Create the tables of the service, or upgrade them to a revision, in one transaction."""
    from alembic import command

    config = _migrations()
    with writing(engine) as connection:
        _revision_of(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    prepare(engine)


def _migrations() -> Config:
    """Return what Alembic needs to find the migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "service:migrations")
    return config


@contextmanager
def one_migration_at_a_time(engine: Engine) -> Iterator[None]:
    """Serialize the migrations of processes that start concurrently on a PostgreSQL database.

    On SQLite the locks of the migrations themselves are enough.
    """
    if engine.dialect.name == "sqlite":
        yield
        return
    # Without a transaction: one that stays open makes the queue engine's CREATE INDEX CONCURRENTLY wait forever.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})


def require_tables(engine: Engine) -> None:
    """Raise `DatabaseNotReady` if the tables are not those that this version of the code needs."""
    with engine.connect() as connection:
        revision = _revision_of(connection)
    if revision is None:
        raise DatabaseNotReady("The database has no tables yet.", "Run `fanin migrate`, or start with `fanin serve`.")
    if revision != _newest_revision():
        raise DatabaseNotReady(
            f"The database has the tables of version {revision}; this Fanin needs those of {_newest_revision()}.",
            "Run `fanin migrate` with the newest Fanin, and start all processes with it.",
        )


def _revision_of(connection: Connection) -> str | None:
    """Return the version of the tables, None without tables.

    Raises `DatabaseTooNew` for a version that this Fanin does not know, because a newer one has made it.
    """
    from alembic.migration import MigrationContext

    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in _revisions():
        raise DatabaseTooNew(
            f"A newer Fanin has given the database the tables of version {revision}; this one knows those up to "
            f"{_newest_revision()}.",
            "Start the newer Fanin, or restore a backup from before its migration.",
        )
    return revision


@lru_cache
def _revisions() -> frozenset[str]:
    from alembic.script import ScriptDirectory

    return frozenset(script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions())


@lru_cache
def _newest_revision() -> str | None:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_migrations()).get_current_head()
