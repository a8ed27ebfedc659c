"""The connection to the database, its clock, and its migrations."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Double, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

Result = TypeVar("Result")

CONNECT_LIMIT_S = 10
IDLE_LIMIT = "idle_in_transaction_session_timeout"
TRANSACTION_IDLE_LIMIT_S = 10
"""After this, PostgreSQL ends the transaction of a process that is frozen in it, and releases its row locks."""

SILENCE = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000}
"""A connection whose other end is silent for 15 s is lost (libpq; seconds, and for the last one milliseconds).

The system's own limits are two hours for an answer that was lost, and 15 minutes for a query that was. After a cut of
two minutes it would wait for as long again before it sends."""

SQLITE_BUSY_MS = 30_000
WAL_BYTES = 64 * 2**20
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


def open_engine(url: str, connect_limit_s: int = CONNECT_LIMIT_S) -> Engine:
    """Return the engine of a database; creates the folder of a SQLite file, but no tables."""
    if not url.startswith("sqlite"):
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=10,
            pool_timeout=CONNECT_LIMIT_S,
            connect_args={"connect_timeout": connect_limit_s, **SILENCE, "options": _options_of_server()},
        )
    file = make_url(url).database
    if file:
        _make_private(Path(file))
    if sqlite3.sqlite_version_info < SQLITE_WITH_SUBSECONDS and not event.contains(Engine, "connect", _give_subseconds):
        event.listen(Engine, "connect", _give_subseconds)
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _options_of_server() -> str:
    """Return the settings of this session on the server: it gives up a lost client as a client gives up its server."""
    values = {
        IDLE_LIMIT: f"{TRANSACTION_IDLE_LIMIT_S}s",
        "tcp_user_timeout": SILENCE["tcp_user_timeout"],
        **{f"tcp_{name}": value for name, value in SILENCE.items() if name.startswith("keepalives")},
    }
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def time_statements(engine: Engine, note: Callable[[float], object]) -> None:
    """Call `note` with the seconds of each statement of an engine."""

    @event.listens_for(engine, "before_cursor_execute")
    def _begin(_connection: Any, _cursor: Any, _statement: Any, _parameters: Any, context: Any, _many: Any) -> None:
        context.fanin_begun = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def _end(_connection: Any, _cursor: Any, _statement: Any, _parameters: Any, context: Any, _many: Any) -> None:
        note(time.perf_counter() - context.fanin_begun)


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
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


DEADLOCK = "40P01"
MAX_DEADLOCKS = 5


def transact(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Return what `work` returns; it is one transaction of `writing`, repeated if PostgreSQL ends it as a deadlock.

    For work that locks many runs: their order is that of a list that another transaction may change before the locks.
    """
    for _ in range(MAX_DEADLOCKS):
        try:
            with writing(engine) as connection:
                return work(connection)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != DEADLOCK:
                raise
            log.info("a deadlock ended a transaction, which is repeated")
    with writing(engine) as connection:
        return work(connection)


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
