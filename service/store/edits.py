"""Edits of jobs and experiments: their descriptions, and the priority of those that are queued or paused."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, select, update

from service.errors import IllegalTransition, NotFound
from service.store.descriptions import DescriptionChange, Versions, change_description, require_version
from service.store.events import append_event
from service.store.experiments import hold_experiment
from service.store.job_transitions import drop_run_if_unused, held_job
from service.store.jobs import PRIORITIES, JobRow, Priority, QueueEntry, insert_run
from service.store.tables import experiments, jobs

NewRuns = dict[str, QueueEntry]
"""Ids of new runs, which the caller enqueues in the same transaction, with their places in the queue."""


def edit_job(
    connection: Connection,
    job_id: str,
    change: DescriptionChange,
    priority: Priority | None,
    if_match: Versions | None,
) -> NewRuns:
    """Change a job's description, and its priority unless that is None, in the caller's transaction.

    Raises `PreconditionFailed` if the job does not have a version of `if_match`, `IllegalTransition` for a new priority
    of a job that neither is queued nor paused, `InvalidLabels`, and `NotFound`.
    """
    job = held_job(connection, job_id)
    require_version(job_id, job.version, if_match)
    change_description(connection, jobs, job_id, change)
    if priority is None or PRIORITIES[priority] == job.priority:
        return {}
    if job.state == "paused":  # it gets a run when it is resumed
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(priority=PRIORITIES[priority]))
        return {}
    if job.state != "queued":
        raise IllegalTransition(
            f"The job {job_id} is {job.state}; only a queued or paused job can get another priority.",
            "Leave priority out of the request.",
        )
    return _requeued(connection, [job], priority)


def edit_experiment(
    connection: Connection,
    experiment_id: str,
    change: DescriptionChange,
    priority: Priority | None,
    if_match: Versions | None,
) -> NewRuns:
    """Change an experiment's description, and the priority of those members that wait, in the caller's transaction.

    Members that share a run go on sharing one. Raises as `edit_job` does, but not if no member is queued.
    """
    row = hold_experiment(connection, experiment_id)
    require_version(experiment_id, row.version, if_match)
    new_runs: NewRuns = {}
    if priority is not None:
        queued = jobs.c.experiment_id == experiment_id, jobs.c.state == "queued"
        of_runs: dict[str, list[JobRow]] = {}
        for job_id in list(connection.execute(select(jobs.c.id).where(*queued).order_by(jobs.c.run_id)).scalars()):
            with suppress(NotFound):  # it has been deleted meanwhile
                job = held_job(connection, job_id)
                if job.state == "queued" and job.priority != PRIORITIES[priority]:
                    of_runs.setdefault(job.run_id, []).append(job)
        paused = jobs.c.experiment_id == experiment_id, jobs.c.state == "paused"
        connection.execute(update(jobs).where(*paused).values(priority=PRIORITIES[priority]))
        for members in of_runs.values():
            new_runs |= _requeued(connection, members, priority)
    change_description(connection, experiments, experiment_id, change)
    return new_runs


def _requeued(connection: Connection, members: Sequence[JobRow], priority: Priority) -> NewRuns:
    """Give queued jobs of one run a new run, behind those of equal priority; the old run's queue entry does nothing."""
    first = members[0]
    run_id = insert_run(connection, first.attempt, first.pins)
    for job in members:
        values = {"run_id": run_id, "priority": PRIORITIES[priority]}
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))
        append_event(connection, job.id, "job.queued", by="priority")
    drop_run_if_unused(connection, first.run_id)
    return {run_id: QueueEntry(PRIORITIES[priority], first.device)}
