"""What the errors of a database mean, and how long Fanin waits for it: for ever, with growing pauses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.errors import DatabaseNotReady, DatabaseTooNew, Unavailable, WrongSettings
from service.store.engine import writing
from service.store.migration import require_tables

log = logging.getLogger(__name__)

Result = TypeVar("Result")

OUT_OF_REACH = (OperationalError, InterfaceError, PoolTimeoutError)
"""The errors of a database that is stopped, starting, unreachable, or too busy."""

FAILED = (*OUT_OF_REACH, ProgrammingError)
"""The errors after which a database may work again, or with the right tables."""

RETRY_PAUSE_S = 0.5
MAX_RETRY_PAUSE_S = 10.0

_REFUSALS = ("password authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")

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
    said = f"{type(getattr(error, 'orig', error)).__name__}: {error}".lower()
    if any(mark in said for mark in _WRONG_TABLES):
        return DatabaseNotReady(
            "The tables of the database are not those that this Fanin needs.",
            "Run `fanin migrate` with the newest Fanin, and start all processes with it.",
        )
    for mark, (detail, hint) in _CAUSES.items():
        if mark in said:
            return Unavailable(detail, hint)
    return Unavailable("The database cannot be reached, or did not answer in time.", "Try again soon.")


def check_writing(engine: Engine) -> None:
    """Write a row, so that a full or read-only disk is noticed. Raises the database's error."""
    with writing(engine) as connection:
        change = "UPDATE counters SET value = value + 1 WHERE name = 'readiness'"
        if connection.execute(text(change)).rowcount == 0:
            connection.execute(text("INSERT INTO counters (name, value) VALUES ('readiness', 1)"))


def wait_for_tables(engine: Engine) -> None:
    """Return when the database can be reached and has its tables; try again for ever, with growing pauses.

    Raises `DatabaseTooNew`.
    """
    pause_s = RETRY_PAUSE_S
    while True:
        try:
            check_connection(engine)
            require_tables(engine)
        except DatabaseTooNew:
            raise
        except (Unavailable, WrongSettings, *FAILED) as error:
            log.warning("%s; trying again in %.1f s", error, pause_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_PAUSE_S)
        else:
            return


def check_connection(engine: Engine) -> None:
    """Raise `Unavailable` if the database cannot be reached, `WrongSettings` if it refuses this user."""
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        if any(mark in str(error.orig) for mark in _REFUSALS):
            raise WrongSettings(f"The database {where} refuses: {error.orig}", "Check FANIN_DATABASE_URL.") from None
        raise Unavailable(
            f"The database {where} cannot be reached: {error.orig}", "Check FANIN_DATABASE_URL."
        ) from None


def retry_while_unreachable(call: Callable[[], Result]) -> Result:
    """Return what `call` returns; while the database is out of reach, try again for ever, with growing pauses.

    `call` must be a whole transaction that may be repeated. An outage thus costs a training its time and nothing else;
    a worker that is asked to stop ends by its alarm, and its job goes on from the last committed epoch.
    """
    pause_s = RETRY_PAUSE_S
    while True:
        try:
            return call()
        except OUT_OF_REACH as error:
            log.warning(
                "the database is out of reach, trying again in %.1f s: %s", pause_s, getattr(error, "orig", error)
            )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_PAUSE_S)
