"""`fanin backup`, `fanin verify`, `fanin restore`: a copy of all jobs with their files, consistent while jobs run.

A backup is a folder: `fanin.sqlite` with all rows, whichever database they come from, and `artifacts/` with the files
that the rows point to. It is put together under another name and renamed at the end: a folder with its name is whole.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.errors import CheckpointDamaged
from service.artifacts.opening import PATIENT, open_artifacts
from service.artifacts.store import Artifacts
from service.commands.file_copies import copy_files
from service.commands.startup import migrate_all
from service.errors import ServiceError, Unavailable
from service.queue.engine import client_of, enqueue
from service.settings import Settings
from service.store.engine import open_engine, writing
from service.store.file_hold import hold_files
from service.store.migration import migrate, require_tables
from service.store.outages import check_connection
from service.store.transfer import (
    FileOfRow,
    copy_rows,
    files_of_rows,
    has_jobs,
    requeue_open_jobs,
    snapshot,
)

DATABASE = "fanin.sqlite"
ARTIFACTS = "artifacts"
HOLD_S = 60.0
HOLD_AGAIN_S = 15.0


class BackupFailed(ServiceError):
    """A backup cannot be made, is not whole, or cannot be restored here."""


class Verified(NamedTuple):
    """The files that rows point to, and those that are missing or damaged, each with the reason."""

    files: int
    damaged: list[tuple[FileOfRow, str]]


def backup(settings: Settings, destination: Path) -> str:
    """Write a backup of the database and the files of `settings`, and return what was written as a sentence.

    While files are copied, no process of the service deletes any (`hold_files`). Raises `BackupFailed`, `Unavailable`.
    """
    if destination.exists():
        raise BackupFailed(f"{destination} exists already.", "Name a new folder; a backup overwrites nothing.")
    source = open_engine(settings.sqlalchemy_url)
    check_connection(source)
    require_tables(source)
    part = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        with _files_held(source):
            jobs, files = _copy_database(source, part / DATABASE)
            there = open_artifacts(settings.artifacts_place, PATIENT)
            lost = copy_files(there, open_artifacts(part / ARTIFACTS), files)
        part.rename(destination)
    except OSError as error:
        raise BackupFailed(f"The backup failed: {error.strerror}: {error.filename or part}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        source.dispose()
    left_out = f" {lost} files were missing or damaged: `fanin verify` names them." if lost else ""
    return f"{jobs} jobs with {len(files) - lost} files are in {destination}.{left_out}"


def verify(settings: Settings, backup_folder: Path | None) -> Verified:
    """Compare the SHA-256 of every file that a row points to; in a backup, or (None) in the service's own store.

    A running service deletes files: one to which no row points any more is not counted. Raises `Unavailable` if object
    storage is away, which says nothing about its files.
    """
    with ExitStack() as stack:
        if backup_folder is None:
            engine, place = open_engine(settings.sqlalchemy_url), settings.artifacts_place
            check_connection(engine)
        else:
            engine, place = stack.enter_context(_opened(backup_folder)), backup_folder / ARTIFACTS
        stack.callback(engine.dispose)
        with snapshot(engine) as connection:
            files = files_of_rows(connection)
        damaged = _damaged(open_artifacts(place, PATIENT), files)
        with snapshot(engine) as connection:
            deleted = set(files) - set(files_of_rows(connection))
    return Verified(len(files) - len(deleted), [found for found in damaged if found[0] not in deleted])


def _damaged(artifacts: Artifacts, files: Sequence[FileOfRow]) -> list[tuple[FileOfRow, str]]:
    """Return the files that are missing or damaged, each with the reason."""
    found = []
    for file in files:
        try:
            artifacts.read(file.path, file.sha256)
        except CheckpointDamaged as error:
            found.append((file, error.detail))
        except Unavailable as error:
            if artifacts.is_remote:
                raise
            found.append((file, error.detail))  # this file of a folder cannot be read
    return found


def restore(settings: Settings, backup_folder: Path, *, accept_damage: bool = False) -> str:
    """Put a backup into the empty database and the store of `settings`, and return what was restored as a sentence.

    Jobs that had not ended are queued again and go on from their last checkpoint. Raises `BackupFailed`, and changes
    nothing, if the database has jobs, or a file of weights is damaged and `accept_damage` is false.
    """
    lost = {file for file, _ in verify(settings, backup_folder).damaged}
    lost_weights = [file.path for file in lost if not file.is_resume]
    if lost_weights and not accept_damage:
        raise BackupFailed(
            f"{len(lost_weights)} files of weights are missing or damaged in {backup_folder}: {lost_weights[0]} ...",
            "Use another backup, or restore all others with --accept-damage.",
        )
    migrate_all(settings)
    target = open_engine(settings.sqlalchemy_url)
    with target.connect() as connection:
        if has_jobs(connection):
            raise BackupFailed(
                "The database has jobs already.", "Restore into an empty one: another FANIN_HOME or FANIN_DATABASE_URL."
            )
    with _opened(backup_folder) as source, snapshot(source) as rows:
        files = [file for file in files_of_rows(rows) if file not in lost]
        there = open_artifacts(settings.artifacts_place, PATIENT)
        copy_files(open_artifacts(backup_folder / ARTIFACTS), there, files)
        client = client_of(target)
        with writing(target) as connection:
            counts = copy_rows(rows, connection)
            requeued = requeue_open_jobs(connection)
            for run_id, entry in requeued.items():
                enqueue(client, connection, run_id, entry)
    target.dispose()
    return f"{counts['jobs']} jobs with {len(files)} files are restored; {len(requeued)} runs are queued again."


@contextmanager
def _files_held(engine: Engine) -> Iterator[None]:
    """Keep the files of all checkpoints until the block ends, however long it takes; then the hold runs out by itself.

    Raises `BackupFailed` if the hold could not be renewed in time, since files may have been deleted.
    """
    over, held_at = threading.Event(), [time.monotonic()]

    def hold() -> None:
        while not over.wait(HOLD_AGAIN_S):
            began = time.monotonic()
            with suppress(SQLAlchemyError):
                hold_files(engine, HOLD_S)
                held_at[0] = began

    hold_files(engine, HOLD_S)
    holder = threading.Thread(target=hold, name="hold-files", daemon=True)
    holder.start()
    try:
        yield
    finally:
        over.set()
        holder.join()
    if time.monotonic() - held_at[0] > HOLD_S:
        raise BackupFailed("The database could not be reached for a minute while files were copied.", "Try again.")


def _copy_database(source: Engine, file: Path) -> tuple[int, list[FileOfRow]]:
    copy = open_engine(f"sqlite:///{file}")
    migrate(copy)
    with snapshot(source) as rows, copy.begin() as connection:
        counts = copy_rows(rows, connection)
        files = files_of_rows(rows)
    with copy.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log beside it
    copy.dispose()
    return counts["jobs"], files


@contextmanager
def _opened(backup_folder: Path) -> Iterator[Engine]:
    """Yield a private copy of a backup's database with the newest tables; the backup itself is only read."""
    file = backup_folder / DATABASE
    if not file.is_file():
        raise BackupFailed(f"{backup_folder} is no backup: it has no {DATABASE}.", "Name a folder of `fanin backup`.")
    with tempfile.TemporaryDirectory(prefix="fanin-") as folder:
        copy = Path(folder) / DATABASE
        shutil.copyfile(file, copy)
        engine = open_engine(f"sqlite:///{copy}")
        migrate(engine)
        yield engine
        engine.dispose()
