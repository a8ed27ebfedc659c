"""Which ended jobs are no longer kept: by age, by number, by the size of their checkpoints; the oldest go first.

A job that an alias names, or that belongs to an experiment, is kept: a comparison needs all of its members. Such jobs
go with `DELETE`. A job goes whole, because its events are the history that its page shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, case, exists, func, select

from service.store.engine import now
from service.store.jobs import ENDED
from service.store.tables import aliases, checkpoints, jobs

DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class Retention:
    """What is kept of ended jobs; None means no limit."""

    days: float | None = None
    jobs: int | None = None
    checkpoint_bytes: int | None = None


def expired_jobs(engine: Engine, retention: Retention, limit: int = 1000) -> list[str]:
    """Return up to `limit` ids of ended jobs that are no longer kept, those that ended first first."""
    size = func.coalesce(select(_bytes()).where(checkpoints.c.job_id == jobs.c.id).scalar_subquery(), 0)
    newest_first = jobs.c.ended_event.desc()
    through = func.sum(size).over(order_by=newest_first) if retention.checkpoint_bytes is not None else size
    ranked = (
        select(
            jobs.c.id,
            jobs.c.ended_event,
            jobs.c.ended_at,
            func.row_number().over(order_by=newest_first).label("number"),
            through.label("size"),
        )
        .where(*_may_go())
        .subquery()
    )
    reasons = []
    if retention.days is not None:
        reasons.append(ranked.c.ended_at < now() - retention.days * DAY_S)
    if retention.jobs is not None:
        reasons.append(ranked.c.number > retention.jobs)
    if retention.checkpoint_bytes is not None:
        kept = select(func.coalesce(_bytes(), 0)).where(
            checkpoints.c.job_id.not_in(select(jobs.c.id).where(*_may_go()))
        )
        reasons.append(ranked.c.size + kept.scalar_subquery() > retention.checkpoint_bytes)
    if not reasons:
        return []
    is_expired = reasons[0]
    for reason in reasons[1:]:
        is_expired = is_expired | reason
    with engine.connect() as connection:
        query = select(ranked.c.id).where(is_expired).order_by(ranked.c.ended_event).limit(limit)
        return list(connection.execute(query).scalars())


def _bytes() -> ColumnElement[int]:
    """Return the size of checkpoints; an optimizer's state counts as twice the weights, as Adam's is."""
    files = case((checkpoints.c.resume_path.is_not(None), 3), else_=1)
    return func.sum(checkpoints.c.weights_bytes * files)


def _may_go() -> tuple[ColumnElement[bool], ...]:
    is_named = exists().where(aliases.c.job_id == jobs.c.id)
    return jobs.c.state.in_(ENDED), jobs.c.ended_event.is_not(None), jobs.c.experiment_id.is_(None), ~is_named
