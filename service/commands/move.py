"""`fanin move`: take all jobs to another database, such as from SQLite to PostgreSQL, with the service stopped.

Files are copied first, then all rows in one transaction. An interrupted move can be made again: the source is only
read, and the target has either no job or all of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine

from service.artifacts.opening import PATIENT, open_artifacts
from service.commands.file_copies import copy_files
from service.commands.startup import migrate_all
from service.errors import ServiceError
from service.queue.engine import client_of, enqueue
from service.settings import Settings, read_settings
from service.store.engine import open_engine, writing
from service.store.migration import require_tables
from service.store.outages import check_connection
from service.store.transfer import copy_rows, files_of_rows, has_jobs, requeue_open_jobs, snapshot
from service.store.workers import count_live


class MoveFailed(ServiceError):
    """The jobs cannot be taken to this target now."""


def move(settings: Settings, target: Settings) -> str:
    """Copy the database and the files of `settings` to those of `target`, and return what was moved as a sentence.

    Paused jobs stay paused; jobs that had not ended are queued again there, and go on from their last checkpoint. The
    files are copied only if the target has another place for them. Raises `MoveFailed`, `Unavailable`, and
    `DatabaseNotReady` if the tables of the source are of another version.
    """
    if target.sqlalchemy_url == settings.sqlalchemy_url:
        raise MoveFailed("The target is the database of this service already.", "Name another one: --to URL.")
    with ExitStack() as stack:
        source = _opened(stack, settings)
        check_connection(source)
        require_tables(source)
        with source.connect() as connection:
            if count_live(connection, settings.worker_ttl_s):
                raise MoveFailed(
                    "A worker is alive: what it commits from now on would be left behind.",
                    f"Stop the service and all workers, wait {settings.worker_ttl_s:g} s, and move again.",
                )
        migrate_all(target)
        engine = _opened(stack, target)
        with engine.connect() as connection:
            if has_jobs(connection):
                raise MoveFailed("The target has jobs already.", "Name an empty database; a move overwrites nothing.")
        return _copied(source, engine, (settings.artifacts_place, target.artifacts_place))


def _opened(stack: ExitStack, settings: Settings) -> Engine:
    engine = open_engine(settings.sqlalchemy_url)
    stack.callback(engine.dispose)
    return engine


def _copied(source: Engine, engine: Engine, places: tuple[str | Path, str | Path]) -> str:
    """Copy files between two stores if they are not one, and then all rows; return what was moved as a sentence.

    The files are copied between two snapshots: PostgreSQL ends a transaction that is idle for seconds.
    """
    with snapshot(source) as rows:
        files = files_of_rows(rows)
    before, after = places
    lost = 0
    if before != after:
        lost = copy_files(open_artifacts(before, PATIENT), open_artifacts(after, PATIENT), files)
    client = client_of(engine)
    with writing(engine) as connection:
        with snapshot(source) as rows:
            if not set(files_of_rows(rows)) <= set(files):
                raise MoveFailed("A worker has committed meanwhile.", "Stop the service and all workers; move again.")
            counts = copy_rows(rows, connection)
        new_runs = requeue_open_jobs(connection, by="move")
        for run_id, entry in new_runs.items():
            enqueue(client, connection, run_id, entry)
    kept = f"{counts['jobs']} jobs with {len(files) - lost} files are moved; {len(new_runs)} runs are queued."
    return f"{kept} {lost} files were missing or damaged before: `fanin verify` names them." if lost else kept


def target_of(settings: Settings, database_url: str, artifacts: str | None) -> Settings:
    """Return the settings with another database, and with another folder or address of the files unless that is None.

    Raises `WrongSettings` for an address that is none.
    """
    place = settings.artifacts_place if artifacts is None else artifacts
    if "://" not in str(place):
        place = Path(place).expanduser().absolute().as_uri()
    return read_settings(home=settings.home, database_url=database_url, artifacts_url=place)
