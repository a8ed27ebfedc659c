"""Experiments: jobs that were submitted together, to be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, insert, select, update
from uuid6 import uuid7

from models.evaluation.pairs import Compared
from models.recipes.base import Outcome
from models.results import EpochMetrics, EvaluationRecord, first_step_below_2
from models.spec import TrainSpec
from service.errors import IllegalTransition, InvalidCursor, NotFound
from service.store.descriptions import Description, LabelFilter, has_label, insert_labels, labels_of
from service.store.engine import now
from service.store.jobs import DeviceChoice, JobState, job_diagnostics, may_be_after, may_be_an_id
from service.store.tables import checkpoints, epochs, experiments, jobs


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment: its request, the name of its recipe, if any, and how many jobs it began with."""

    id: str
    created_at: float
    recipe: str | None
    request: dict[str, Any]
    members: int
    name: str | None = None
    note: str | None = None
    version: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> DeviceChoice:
        """Return the kind of device that the members ask for."""
        device: DeviceChoice = self.request.get("device", "any")
        return device

    @classmethod
    def all_of(cls, connection: Connection, query: Select[Any]) -> list[ExperimentRow]:
        """Return the experiments of a query of whole rows, with their labels."""
        rows = connection.execute(query).mappings().all()
        of_rows = labels_of(connection, [row["id"] for row in rows]) if rows else {}
        return [cls(**row, labels=of_rows[row["id"]]) for row in rows]


@dataclass(frozen=True)
class MemberRow:
    """One job of an experiment, with the evaluation of its final epoch, if it has succeeded."""

    job_id: str
    state: JobState
    spec: TrainSpec
    evaluation: EvaluationRecord | None


@dataclass(frozen=True)
class ExperimentRequest:
    """What a client submits: the members' specs, the recipe's name if any, the body, a description, a device."""

    specs: Sequence[TrainSpec]
    recipe: str | None
    body: dict[str, Any]
    description: Description = field(default_factory=Description)
    device: DeviceChoice = "any"


def insert_experiment(connection: Connection, request: ExperimentRequest) -> str:
    """Insert an experiment without its members in the caller's transaction and return its id."""
    experiment_id, description = f"exp_{uuid7().hex}", request.description
    values = {"recipe": request.recipe, "request": request.body, "members": len(request.specs)}
    of_description = {"name": description.name, "note": description.note}
    connection.execute(insert(experiments).values(id=experiment_id, created_at=now(), **values, **of_description))
    insert_labels(connection, experiment_id, description.labels)
    return experiment_id


def extend_experiment(connection: Connection, row: ExperimentRow, more: int) -> None:
    """Count more members of an experiment, in the caller's transaction.

    Raises `IllegalTransition` if another request has added some since `row` was read.
    """
    same = (experiments.c.id == row.id, experiments.c.members == row.members)
    if connection.execute(update(experiments).where(*same).values(members=row.members + more)).rowcount == 0:
        raise IllegalTransition(f"{row.id} was refined or deleted by another request.", "Look at its members again.")


def get_experiment(engine: Engine, experiment_id: str) -> ExperimentRow:
    """Return one experiment. Raises `NotFound`."""
    with engine.connect() as connection:
        return find_experiment(connection, experiment_id)


def find_experiment(connection: Connection, experiment_id: str) -> ExperimentRow:
    """Return one experiment, in the caller's transaction. Raises `NotFound`."""
    query = select(experiments).where(experiments.c.id == experiment_id)
    rows = ExperimentRow.all_of(connection, query) if may_be_an_id(experiment_id) else []
    if not rows:
        raise NotFound(f"There is no experiment {experiment_id!r}.", "GET /experiments lists the experiments.")
    return rows[0]


def hold_experiment(connection: Connection, experiment_id: str) -> ExperimentRow:
    """Lock an experiment's row until the transaction ends, before any of its runs: no member is added meanwhile.

    Returns it. Raises `NotFound`.
    """
    find_experiment(connection, experiment_id)
    connection.execute(select(experiments.c.id).where(experiments.c.id == experiment_id).with_for_update())
    return find_experiment(connection, experiment_id)


def list_experiments(
    engine: Engine, *, labels: Sequence[LabelFilter] = (), after: str | None, limit: int
) -> list[ExperimentRow]:
    """Return up to `limit` experiments that have all of these labels, newest first, starting after one.

    Raises `InvalidCursor` if `after` is no id of an experiment.
    """
    query = select(experiments).where(*(has_label(experiments.c.id, wanted) for wanted in labels))
    if after is not None:
        if not may_be_after(after, "exp_"):
            raise InvalidCursor(
                f"{after!r} is not a cursor of this list.", "Follow the link rel=next of the page before."
            )
        query = query.where(experiments.c.id < after)
    with engine.connect() as connection:
        return ExperimentRow.all_of(connection, query.order_by(experiments.c.id.desc()).limit(limit))


def state_counts(engine: Engine, experiment_ids: Collection[str]) -> dict[str, dict[JobState, int]]:
    """Return how many members of each experiment are in each state."""
    counts: dict[str, dict[JobState, int]] = {experiment_id: {} for experiment_id in experiment_ids}
    column = jobs.c.experiment_id
    query = select(column, jobs.c.state, func.count()).where(column.in_(experiment_ids)).group_by(column, jobs.c.state)
    with engine.connect() as connection:
        for experiment_id, state, count in connection.execute(query):
            counts[experiment_id][state] = count
    return counts


def list_members(engine: Engine, experiment_id: str) -> list[MemberRow]:
    """Return the jobs of an experiment, in the order of submission."""
    with engine.connect() as connection:
        return members_of(connection, experiment_id)


def members_of(connection: Connection, experiment_id: str) -> list[MemberRow]:
    """Return the jobs of an experiment, in the caller's transaction."""
    is_final = (checkpoints.c.job_id == jobs.c.id) & checkpoints.c.final
    query = (
        select(jobs.c.id, jobs.c.state, jobs.c.spec, checkpoints.c.evaluation)
        .outerjoin(checkpoints, is_final)
        .where(jobs.c.experiment_id == experiment_id)
        .order_by(jobs.c.id)
    )
    return [
        MemberRow(
            row.id,
            row.state,
            TrainSpec.model_validate(row.spec),
            EvaluationRecord.model_validate(row.evaluation) if row.evaluation else None,
        )
        for row in connection.execute(query)
    ]


def _metrics_of_members(engine: Engine, experiment_id: str) -> dict[str, list[EpochMetrics]]:
    query = (
        select(epochs.c.job_id, epochs.c.metrics)
        .join(jobs, jobs.c.id == epochs.c.job_id)
        .where(jobs.c.experiment_id == experiment_id)
        .order_by(epochs.c.job_id, epochs.c.epoch)
    )
    metrics: dict[str, list[EpochMetrics]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query):
            metrics.setdefault(row.job_id, []).append(EpochMetrics.model_validate(row.metrics))
    return metrics


def compared_members(engine: Engine, experiment_id: str, members: Sequence[MemberRow]) -> list[Compared]:
    """Return a comparison's input: one item for each of `members` that has succeeded."""
    metrics = _metrics_of_members(engine, experiment_id)
    compared = []
    for member in members:
        if member.evaluation is None:
            continue
        epoch_metrics = metrics.get(member.job_id, [])
        compared.append(
            Compared(
                spec=member.spec,
                accuracy=member.evaluation.accuracy,
                evaluated_on=member.evaluation.evaluated_on,
                n_images=member.evaluation.n,
                final_train_loss=epoch_metrics[-1].train_loss_mean if epoch_metrics else None,
                first_step_below_2=first_step_below_2(epoch_metrics),
                right=member.evaluation.right(),
                validation_accuracy=epoch_metrics[-1].validation_accuracy if epoch_metrics else None,
            )
        )
    return compared


def outcomes_of(engine: Engine, experiment_id: str, members: Sequence[MemberRow]) -> list[Outcome]:
    """Return the input of a recipe's judge: one outcome for each of `members` that has an evaluation."""
    metrics = _metrics_of_members(engine, experiment_id)
    return [
        Outcome(
            spec=member.spec,
            metrics=metrics.get(member.job_id, []),
            diagnostics=job_diagnostics(engine, member.job_id),
            evaluation=member.evaluation,
        )
        for member in members
        if member.evaluation is not None
    ]
