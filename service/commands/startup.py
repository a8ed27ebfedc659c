"""What `fanin serve` waits for at its start: a port whose holder is ending, a database that is not there yet."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from models.errors import FaninError
from service.errors import FOR_A_PERSON, Unavailable
from service.queue.engine import migrate_queue
from service.settings import Settings
from service.store.engine import open_engine
from service.store.migration import migrate, one_migration_at_a_time
from service.store.outages import check_connection

log = logging.getLogger(__name__)

PORT_PAUSE_S = 0.2
MIGRATION_PAUSE_S = 2.0


def bind(listener: socket.socket, host: str, port: int, patience_s: float) -> None:
    """Bind to a port; wait for one that is taken: its holder may be a service that is just ending. Raises `OSError`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return listener.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(PORT_PAUSE_S)


def migrate_now_or_later(settings: Settings) -> None:
    """Migrate the database; if it is out of reach, in a thread that tries for ever: API and workers start without it.

    Raises `WrongSettings` if the database refuses the user of the settings, and `DatabaseTooNew`.
    """
    try:
        migrate_all(settings)
    except FOR_A_PERSON:
        raise
    except (Unavailable, SQLAlchemyError) as error:
        log.warning("%s; the API answers 503 until it can be reached", error)
        threading.Thread(target=_migrate_when_possible, args=(settings,), name="migration", daemon=True).start()


def _migrate_when_possible(settings: Settings) -> None:
    while True:
        time.sleep(MIGRATION_PAUSE_S)
        try:
            migrate_all(settings)
        except (FaninError, SQLAlchemyError, OSError) as error:  # the API says why until a try succeeds
            log.warning("the database cannot be migrated yet: %s", error)
        else:
            return


def migrate_all(settings: Settings) -> None:
    """Create or upgrade the tables of the service and of the queue. Raises `Unavailable`, `WrongSettings`."""
    engine = open_engine(settings.sqlalchemy_url)
    check_connection(engine)
    with one_migration_at_a_time(engine):
        migrate(engine)
        migrate_queue(engine, settings.sqlalchemy_url)
    engine.dispose()
