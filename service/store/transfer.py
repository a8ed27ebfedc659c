"""Copy all rows of one database to another: for backups, which are SQLite files, and for restores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from service.store.attempts import OPEN_STATES, SETTLED_STATE, close_run_if_done, leave_job
from service.store.events import append_event
from service.store.file_hold import FILES_HELD
from service.store.jobs import QueueEntry, insert_run
from service.store.tables import checkpoints, counters, jobs, metadata, runs, workers

ROWS_AT_ONCE = 500
OF_THIS_PLACE = {workers.name}
"""Tables that say something about processes, not about jobs; they are not copied."""


@dataclass(frozen=True)
class FileOfRow:
    """A file that a row points to, with the SHA-256 that it must have."""

    path: str
    sha256: str
    job_id: str
    epoch: int
    is_resume: bool
    about_bytes: int
    """An optimizer's state is counted as twice the weights, as Adam's is."""


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose queries all see the database as it is now."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("BEGIN"))
        yield connection


def copy_rows(source: Connection, target: Connection) -> dict[str, int]:
    """Insert all rows of `source` into the empty tables of `target`; return how many there are, by table."""
    counts = {}
    target.execute(delete(counters))
    for table in metadata.sorted_tables:
        if table.name in OF_THIS_PLACE:
            continue
        counts[table.name] = 0
        rows = source.execution_options(yield_per=ROWS_AT_ONCE).execute(select(table)).mappings()
        for part in rows.partitions(ROWS_AT_ONCE):
            target.execute(insert(table), [dict(row) for row in part])
            counts[table.name] += len(part)
    target.execute(delete(counters).where(counters.c.name == FILES_HELD))
    return counts


def files_of_rows(connection: Connection) -> list[FileOfRow]:
    """Return the files that all rows point to, those of the newest checkpoints first."""
    query = select(checkpoints).order_by(checkpoints.c.created_at.desc(), checkpoints.c.job_id)
    files = []
    for row in connection.execute(query):
        of, size = (row.job_id, row.epoch), row.weights_bytes
        files.append(FileOfRow(row.weights_path, row.weights_file_sha256, *of, is_resume=False, about_bytes=size))
        if row.resume_path:
            files.append(FileOfRow(row.resume_path, row.resume_file_sha256, *of, is_resume=True, about_bytes=2 * size))
    return files


def has_jobs(connection: Connection) -> bool:
    """Return whether the database has any job."""
    return connection.execute(select(jobs.c.id).limit(1)).first() is not None


def requeue_open_jobs(connection: Connection, by: str = "restore") -> dict[str, QueueEntry]:
    """Give the jobs that have not ended a new run; return the ids of the new runs with their places in the queue.

    Pending cancels and pauses are carried out. The caller enqueues the runs in the same transaction. A new run has
    folders of its own, so that it meets no file of the one that it continues.
    """
    new_runs: dict[str, QueueEntry] = {}
    open_runs = select(jobs.c.run_id).where(jobs.c.state.in_(OPEN_STATES))
    for run in connection.execute(select(runs).where(runs.c.id.in_(open_runs)).order_by(runs.c.id)).all():
        for pending, settled in SETTLED_STATE.items():
            found = select(jobs.c.id).where(jobs.c.run_id == run.id, jobs.c.state == pending)
            for job_id in list(connection.execute(found).scalars()):
                leave_job(connection, job_id, settled)
        waiting = (jobs.c.run_id == run.id, jobs.c.state.in_(["queued", "running"]))
        wanted = select(jobs.c.id, jobs.c.priority, jobs.c.device).where(*waiting).order_by(jobs.c.id)
        members = connection.execute(wanted).all()
        if members:
            new_id = insert_run(connection, run.attempt, run.pins)
            connection.execute(update(jobs).where(*waiting).values(run_id=new_id, state="queued"))
            for member in members:
                append_event(connection, member.id, "job.queued", by=by)
            new_runs[new_id] = QueueEntry(min(member.priority for member in members), members[0].device)
        close_run_if_done(connection, run.id)
    return new_runs
