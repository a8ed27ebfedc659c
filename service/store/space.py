"""Give the space of deleted rows back to the disk. PostgreSQL does so itself (autovacuum)."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

INCREMENTAL = 2
PAGES_AT_ONCE = 500
LEAST_BYTES = 2**20


def give_back(engine: Engine) -> int:
    """Shrink a SQLite file by its free pages, some at a time, so that no writer waits long; return the bytes."""
    if engine.dialect.name != "sqlite":
        return 0
    with engine.connect() as connection:
        if _pragma(connection, "auto_vacuum") != INCREMENTAL:
            return 0  # the migration of an older file changes that
        page_bytes, before = _pragma(connection, "page_size"), _pragma(connection, "freelist_count")
        left = before
        while left * page_bytes > LEAST_BYTES:
            # As a script, which is run to its end; a statement would free one page.
            driver: Any = connection.connection.driver_connection
            driver.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
            now_left = _pragma(connection, "freelist_count")
            if now_left >= left:
                break
            left = now_left
        return (before - left) * page_bytes


def prepare(engine: Engine) -> None:
    """Let a SQLite file that was made without it give space back; this writes the whole file anew, once."""
    if engine.dialect.name != "sqlite":
        return
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if _pragma(connection, "auto_vacuum") != INCREMENTAL:
                connection.exec_driver_sql(f"PRAGMA auto_vacuum={INCREMENTAL}")
                connection.exec_driver_sql("VACUUM")
    except SQLAlchemyError as error:
        log.warning("the database file cannot be written anew, so it will not shrink: %s", error)


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
