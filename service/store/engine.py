"""The connection to the database, its clock, and its migrations."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Double, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from service.errors import DatabaseNotReady, Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)

Result = TypeVar("Result")

OUT_OF_REACH = (OperationalError, InterfaceError, PoolTimeoutError)
"""The errors of a database that is stopped, starting, unreachable, or too busy."""

FAILED = (*OUT_OF_REACH, ProgrammingError)
"""The errors after which a database may work again, or with the right tables."""

DATABASE_PATIENCE_S = 60.0
RETRY_PAUSE_S = 0.5
CONNECT_LIMIT_S = 10
IDLE_LIMIT = "idle_in_transaction_session_timeout"
TRANSACTION_IDLE_LIMIT_S = 10
"""After this, PostgreSQL ends the transaction of a process that is frozen in it, and releases its row locks."""

SQLITE_BUSY_MS = 30_000
MIGRATION_LOCK = 0xFA919  # any number that no other application of the database uses
SQLITE_WITH_SUBSECONDS = (3, 42, 0)


class now(FunctionElement[float]):  # noqa: N801 - used like SQLAlchemy's own functions
    """Seconds since 1970 UTC by the database's clock, so that machines need not agree on theirs."""

    type = Double()
    inherit_cache = True
    name = "now"


@compiles(now, "sqlite")
def _now_sqlite(_element: now, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(_element: now, _compiler: Any, **_options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


def open_engine(url: str) -> Engine:
    """Return the engine of a database; creates the folder of a SQLite file, but no tables."""
    if not url.startswith("sqlite"):
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=10,
            pool_timeout=CONNECT_LIMIT_S,
            connect_args={
                "connect_timeout": CONNECT_LIMIT_S,
                "options": f"-c {IDLE_LIMIT}={TRANSACTION_IDLE_LIMIT_S}s",
            },
        )
    file = make_url(url).database
    if file:
        _make_private(Path(file))
    if sqlite3.sqlite_version_info < SQLITE_WITH_SUBSECONDS and not event.contains(Engine, "connect", _give_subseconds):
        event.listen(Engine, "connect", _give_subseconds)
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _make_private(file: Path) -> None:
    """Create a database file that only its owner can read; SQLite gives its other files the same permissions."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))


def _give_subseconds(connection: Any, _record: object) -> None:
    """Add the function `unixepoch('subsec')` to a SQLite before 3.42.

    On Python 3.12 and later, the queue engine uses the function in its tables' defaults, and without it every insert
    fails. Such a Python may have an older SQLite (Debian 12 has 3.40). The queue engine opens its own SQLAlchemy
    engines, so all engines get the function.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.create_function("unixepoch", 1, _unix_epoch)


def _unix_epoch(modifier: str) -> float | None:
    return time.time() if modifier == "subsec" else None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Writers queue up instead of failing; readers do not wait for them (write-ahead log).
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


_sqlite_turn = threading.Lock()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Run one transaction that reads and writes; it is committed when the block ends without an error.

    On SQLite the write lock is taken first, so that rows cannot change between read and write. The threads of a process
    wait for a shared lock before that: SQLite itself retries with growing back-off, and a late thread may be first.
    """
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    with _sqlite_turn, engine.begin() as connection:
        connection.execute(text("BEGIN IMMEDIATE"))
        yield connection


_CAUSES = {
    "disk is full": ("The disk of the database is full.", "Free some space; nothing that was accepted is lost."),
    "no space left": ("The disk of the database is full.", "Free some space; nothing that was accepted is lost."),
    "readonly database": ("The database cannot be written: it is read-only.", "Check its permissions and its disk."),
    "disk i/o error": ("The disk of the database fails.", "Check the disk."),
    "malformed": ("The database file is damaged.", "Restore a backup: `fanin restore`."),
}
_WRONG_TABLES = ("no such table", "no such column", "undefinedtable", "undefinedcolumn")


def cause_of(error: Exception) -> Unavailable:
    """Return what a database error means, without addresses, names or SQL."""
    text = f"{type(getattr(error, 'orig', error)).__name__}: {error}".lower()
    if any(mark in text for mark in _WRONG_TABLES):
        return DatabaseNotReady(
            "The tables of the database are not those that this Fanin needs.",
            "Run `fanin migrate` with the newest Fanin, and start all processes with it.",
        )
    for mark, (detail, hint) in _CAUSES.items():
        if mark in text:
            return Unavailable(detail, hint)
    return Unavailable("The database cannot be reached, or did not answer in time.", "Try again soon.")


def check_writing(engine: Engine) -> None:
    """Write a row, so that a full or read-only disk is noticed. Raises the database's error."""
    with writing(engine) as connection:
        change = "UPDATE counters SET value = value + 1 WHERE name = 'readiness'"
        if connection.execute(text(change)).rowcount == 0:
            connection.execute(text("INSERT INTO counters (name, value) VALUES ('readiness', 1)"))


def migrate(engine: Engine, revision: str = "head") -> None:
    """Create the tables of the service, or upgrade them to a revision, in one transaction."""
    from alembic import command

    config = _migrations()
    with writing(engine) as connection:
        _revision_of(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _migrations() -> Config:
    """Return what Alembic needs to find the migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "service:migrations")
    return config


def check_connection(engine: Engine) -> None:
    """Raise `Unavailable` with the reason if the database cannot be reached."""
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise Unavailable(
            f"The database {where} cannot be reached: {error.orig}", "Check FANIN_DATABASE_URL."
        ) from None


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

    Raises `DatabaseNotReady` for a version that this Fanin does not know, because a newer one has made it.
    """
    from alembic.migration import MigrationContext

    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in _revisions():
        raise DatabaseNotReady(
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


def retry_while_unreachable(call: Callable[[], Result], limit_s: float | None = None) -> Result:
    """Return what `call` returns; while the database is out of reach, try again for up to `limit_s`.

    `call` must be a whole transaction that may be repeated. `limit_s` is `DATABASE_PATIENCE_S` unless it is passed.
    Raises the last error of `call`.
    """
    deadline = time.monotonic() + (DATABASE_PATIENCE_S if limit_s is None else limit_s)
    while True:
        try:
            return call()
        except OUT_OF_REACH as error:
            if time.monotonic() + RETRY_PAUSE_S > deadline:
                raise
            log.warning("the database is out of reach, trying again: %s", error)
            time.sleep(RETRY_PAUSE_S)
