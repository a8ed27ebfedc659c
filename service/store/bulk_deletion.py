"""Delete all jobs of a filter: a dry run says which, and which are kept."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, and_, exists, select

from models.errors import FaninError
from service.store.engine import transact
from service.store.job_lists import JobFilter
from service.store.job_transitions import DELETABLE, delete_held, require_deletable
from service.store.jobs import find_job
from service.store.tables import aliases, jobs

MAX_DELETED = 1000
MAX_KEPT_SHOWN = 100
JOBS_PER_TRANSACTION = 50


class KeptJob(NamedTuple):
    """A job that cannot be deleted, and why."""

    job_id: str
    reason: str


class Deletion(NamedTuple):
    """The jobs that are deleted, or would be, oldest first; some that are kept; whether more can be deleted.

    `may_go` is whether their files may be deleted now: not while a backup copies them.
    """

    job_ids: list[str]
    kept: list[KeptJob]
    has_more: bool
    may_go: bool


def delete_jobs(engine: Engine, wanted: JobFilter, *, dry_run: bool) -> Deletion:
    """Delete up to `MAX_DELETED` jobs of a filter that `delete_job` would delete, or only find them."""
    with engine.connect() as connection:
        of_filter = select(jobs.c.id).where(*wanted.conditions).order_by(jobs.c.run_id, jobs.c.id)
        can_go = list(connection.execute(of_filter.where(_is_deletable()).limit(MAX_DELETED + 1)).scalars())
        cannot = list(connection.execute(of_filter.where(~_is_deletable()).limit(MAX_KEPT_SHOWN)).scalars())
    chosen, may_go = can_go[:MAX_DELETED], True
    deleted: list[str] = []
    for start in range(0, 0 if dry_run else len(chosen), JOBS_PER_TRANSACTION):
        part = chosen[start : start + JOBS_PER_TRANSACTION]
        of_part, files_may_go = transact(engine, partial(delete_held, job_ids=part))
        deleted += of_part
        may_go &= files_may_go
    if not dry_run:
        cannot += sorted(set(chosen) - set(deleted))  # a worker has taken them meanwhile
    kept = [_kept(engine, job_id) for job_id in cannot[:MAX_KEPT_SHOWN]]
    return Deletion(
        job_ids=chosen if dry_run else deleted,
        kept=[job for job in kept if job is not None],
        has_more=len(can_go) > MAX_DELETED,
        may_go=may_go,
    )


def _is_deletable() -> ColumnElement[bool]:
    return and_(jobs.c.state.in_(DELETABLE), ~exists().where(aliases.c.job_id == jobs.c.id))


def _kept(engine: Engine, job_id: str) -> KeptJob | None:
    """Return why a job is kept; None if it could be deleted in the meantime, or is gone."""
    with engine.connect() as connection:
        try:
            require_deletable(connection, find_job(connection, job_id), DELETABLE)
        except FaninError as error:
            return KeptJob(job_id, error.detail)
    return None
