"""Actions on a job: cancel, pause, resume, retry, delete. `RULES` and `DELETABLE` say from which states.

A live worker cancels its running job between two steps, and pauses it at the end of an epoch. If the worker is dead,
the state changes at once. A worker that was wrongly taken for dead then finds the job in another state and commits
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import Connection, Engine, delete, exists, insert, select, update

from service.errors import IllegalTransition, ModelInUse, NotFound
from service.store.attempts import SETTLED_STATE, close_run_if_done, hold_run
from service.store.descriptions import delete_labels
from service.store.engine import now, transact, writing
from service.store.events import append_event, count_change
from service.store.experiments import hold_experiment
from service.store.file_hold import files_are_held
from service.store.jobs import EVENT_OF, JobRow, JobState, find_job, insert_run, values_of_state
from service.store.tables import (
    aliases,
    checkpoints,
    deleted_jobs,
    diagnostics,
    epochs,
    events,
    experiments,
    jobs,
    pretrain_epochs,
    runs,
)
from service.store.workers import is_live

JobAction = Literal["cancel", "pause", "resume", "retry"]


@dataclass(frozen=True)
class Rule:
    """The new state of an action for each state that allows it, and the states in which it changes nothing."""

    settled_in: frozenset[JobState]
    leads_to: dict[JobState, JobState]
    who_can: str


RULES: dict[JobAction, Rule] = {
    "cancel": Rule(
        frozenset({"cancelled", "cancelling"}),
        {"queued": "cancelled", "paused": "cancelled", "running": "cancelling", "pausing": "cancelling"},
        "only a job that has not ended can be cancelled",
    ),
    "pause": Rule(
        frozenset({"paused", "pausing"}),
        {"queued": "paused", "running": "pausing"},
        "only a queued or running job can be paused",
    ),
    "resume": Rule(
        frozenset({"queued", "running"}),
        {"paused": "queued", "pausing": "running"},
        "only a paused job can be resumed",
    ),
    "retry": Rule(
        frozenset({"queued", "running"}),
        {"failed": "queued"},
        "only a failed job can be retried",
    ),
}
DELETABLE: frozenset[JobState] = frozenset({"queued", "paused", "cancelled", "succeeded", "failed"})


class Changed(NamedTuple):
    """A job after an action, and the run that must be enqueued for it, if any."""

    job: JobRow
    new_run_id: str | None


def apply_action(connection: Connection, job_id: str, action: JobAction, worker_ttl_s: float) -> Changed:
    """Apply an action to a job, in the caller's transaction; an action that has already been applied changes nothing.

    A job that is queued again gets a new run, which continues the attempts and the pins of the old one. The caller
    enqueues it in the same transaction. Raises `IllegalTransition`, which names the state, and `NotFound`.
    """
    rule, job = RULES[action], held_job(connection, job_id)
    target = rule.leads_to.get(job.state)
    is_orphan = job.state not in ("queued", "paused") and not is_live(connection, job.worker, worker_ttl_s)
    if job.state in rule.settled_in and job.state in SETTLED_STATE and is_orphan:
        target = SETTLED_STATE[job.state]
    elif job.state in rule.settled_in:
        return Changed(job, None)
    if target is None:
        raise IllegalTransition(f"The job is {job.state}; {rule.who_can}.")
    if is_orphan:
        target = SETTLED_STATE.get(target, target)
    run_id = insert_run(connection, job.attempt, job.pins) if target == "queued" else None
    by = {"by": action} if action in ("resume", "retry") else {}
    event_id = append_event(connection, job_id, EVENT_OF[target], **by)
    values = {"error": None, "run_id": run_id or job.run_id} | values_of_state(target, event_id)
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))
    if run_id:
        drop_run_if_unused(connection, job.run_id)
    elif target in ("cancelled", "paused"):
        close_run_if_done(connection, job.run_id)
    return Changed(find_job(connection, job_id), run_id)


def delete_job(engine: Engine, job_id: str, states: Collection[JobState] = DELETABLE) -> bool:
    """Delete a job with its checkpoints' rows, metrics and events, and note that its files are to be deleted.

    Return whether the caller may delete them now: not while a backup copies them. Raises `IllegalTransition` if the job
    is in none of `states`, `ModelInUse` while it has an alias, and `NotFound`.
    """
    with writing(engine) as connection:
        job = held_job(connection, job_id)
        require_deletable(connection, job, states)
        return _delete_rows(connection, [job])


def delete_experiment(engine: Engine, experiment_id: str) -> tuple[list[str], bool]:
    """Delete an experiment with all its members, or nothing; return the ids of the members, and what `delete_job` does.

    Raises as `delete_job` does, for the first member that cannot be deleted.
    """

    def delete_in(connection: Connection) -> tuple[list[str], bool]:
        hold_experiment(connection, experiment_id)
        of_experiment = select(jobs.c.id).where(jobs.c.experiment_id == experiment_id).order_by(jobs.c.run_id)
        held = []
        for job_id in list(connection.execute(of_experiment).scalars()):
            with suppress(NotFound):  # it has been deleted meanwhile
                held.append(held_job(connection, job_id))
        for job in held:
            require_deletable(connection, job, DELETABLE)
        members, may_go = [job.id for job in held], _delete_rows(connection, held)
        connection.execute(delete(experiments).where(experiments.c.id == experiment_id))
        delete_labels(connection, [experiment_id])
        return members, may_go

    return transact(engine, delete_in)


def delete_held(connection: Connection, job_ids: Sequence[str]) -> tuple[list[str], bool]:
    """Delete those of some jobs that can be deleted, in the caller's transaction; return what `delete_experiment` does.

    The ids are those of the deleted jobs.
    """
    held = []
    for job_id in job_ids:
        with suppress(NotFound, IllegalTransition, ModelInUse):
            job = held_job(connection, job_id)
            require_deletable(connection, job, DELETABLE)
            held.append(job)
    return [job.id for job in held], _delete_rows(connection, held)


def _delete_rows(connection: Connection, held: Sequence[JobRow]) -> bool:
    """Delete jobs; all of their runs are locked before the event counter, as everywhere."""
    count_change(connection)
    for job in held:
        for table in (events, epochs, pretrain_epochs, diagnostics, checkpoints):
            connection.execute(delete(table).where(table.c.job_id == job.id))
        connection.execute(delete(jobs).where(jobs.c.id == job.id))
        drop_run_if_unused(connection, job.run_id)
        connection.execute(insert(deleted_jobs).values(id=job.id, deleted_at=now()))
    delete_labels(connection, [job.id for job in held])
    return not files_are_held(connection)


def require_deletable(connection: Connection, job: JobRow, states: Collection[JobState]) -> None:
    """Raise `IllegalTransition` if the job is in none of `states`, `ModelInUse` while it has an alias."""
    if job.state not in states:
        raise IllegalTransition(
            f"The job {job.id} is {job.state}; a job cannot be deleted while a worker has it.",
            f"Cancel it first: POST /jobs/{job.id}/cancel.",
        )
    names = list(connection.execute(select(aliases.c.name).where(aliases.c.job_id == job.id)).scalars())
    if names:
        raise ModelInUse(
            f"The model {job.id} has the alias {', '.join(names)}.",
            "Move or delete it first: PUT or DELETE /aliases/{name}.",
        )


def held_job(connection: Connection, job_id: str) -> JobRow:
    """Return a job and lock its run's row, so that no worker and no other action changes the job meanwhile."""
    while True:
        job = find_job(connection, job_id)
        hold_run(connection, job.run_id)
        held = find_job(connection, job_id)
        if held.run_id == job.run_id:
            return held


def drop_run_if_unused(connection: Connection, run_id: str) -> None:
    """Delete the row of a run that no job belongs to, in the caller's transaction."""
    still_used = exists().where(jobs.c.run_id == run_id)
    connection.execute(delete(runs).where(runs.c.id == run_id, ~still_used))
