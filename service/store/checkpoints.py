"""Checkpoints, and the models that predictions, evaluations and downloads look up by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Select, delete, exists, func, select

from models.results import EvaluationRecord
from models.spec import TrainSpec
from service.errors import NotFound
from service.store.engine import writing
from service.store.events import count_change
from service.store.file_hold import files_are_held
from service.store.tables import aliases, checkpoints, deleted_jobs, jobs, runs

Phase = Literal["pretrain", "train"]
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
ALIAS_PATTERN = r"[a-z][a-z0-9-]{0,62}"
ALIAS = re.compile(rf"(?!(?:latest|best)$){ALIAS_PATTERN}")


@dataclass(frozen=True)
class NewCheckpoint:
    """A checkpoint whose files are written and whose row is not committed yet.

    `phase` is train or pretrain. A pretrain checkpoint is no model, and its epochs are counted over all layers.
    """

    phase: Phase
    epoch: int
    final: bool
    weights_path: str
    weights_bytes: int
    weights_sha256: str
    weights_file_sha256: str
    resume_path: str | None
    resume_file_sha256: str | None


@dataclass(frozen=True)
class CheckpointRow(NewCheckpoint):
    """One committed checkpoint."""

    job_id: str
    seq: int
    run_id: str
    attempt: int
    evaluation: EvaluationRecord | None
    created_at: float


class ModelRow(NamedTuple):
    """A servable checkpoint with the spec that it was trained with."""

    checkpoint: CheckpointRow
    spec: TrainSpec


def _checkpoint(values: dict[str, Any]) -> CheckpointRow:
    evaluation = values["evaluation"]
    parsed = EvaluationRecord.model_validate(evaluation) if evaluation is not None else None
    return CheckpointRow(**values | {"evaluation": parsed})


def list_checkpoints(
    engine: Engine, job_id: str, phase: Phase | None = None, after: int | None = None, limit: int | None = None
) -> list[CheckpointRow]:
    """Return the committed checkpoints of a job (of one phase, or of both), oldest first; of a page, or all."""
    with engine.connect() as connection:
        return checkpoints_of(connection, job_id, phase, after, limit)


def checkpoints_of(
    connection: Connection,
    job_id: str,
    phase: Phase | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> list[CheckpointRow]:
    """Return the committed checkpoints of a job after a `seq`, oldest first, in the caller's transaction."""
    query = select(checkpoints).where(checkpoints.c.job_id == job_id).order_by(checkpoints.c.seq).limit(limit)
    if after is not None:
        query = query.where(checkpoints.c.seq > after)
    if phase is not None:
        query = query.where(checkpoints.c.phase == phase)
    return [_checkpoint(dict(row)) for row in connection.execute(query).mappings()]


def find_model(engine: Engine, name: str) -> ModelRow:
    """Return the checkpoint that a name means now. Raises `NotFound`.

    `best` is the last one of the succeeded job with the highest accuracy on its evaluation set, of equal ones the
    newest; `latest` that of the job that succeeded last; JOB the last one of a job; JOB@EPOCH; or an alias.
    """
    with engine.connect() as connection:
        return find_model_in(connection, name)


def find_model_in(connection: Connection, name: str) -> ModelRow:
    """Return what `find_model` does, in the caller's transaction."""
    if not NAME.fullmatch(name):
        raise NotFound(*_why_not_found(name))
    job_id, at, epoch = name.partition("@")
    query = select(checkpoints, jobs.c.spec).join(jobs, jobs.c.id == checkpoints.c.job_id)
    query = query.where(checkpoints.c.phase == "train").order_by(checkpoints.c.seq.desc()).limit(1)
    if job_id == "latest":
        ended = select(jobs.c.id).where(jobs.c.state == "succeeded", jobs.c.ended_event.is_not(None))
        newest = ended.order_by(jobs.c.ended_event.desc())  # not by time: a clock may be set back
        query = query.where(checkpoints.c.job_id == newest.limit(1).scalar_subquery())
    elif job_id == "best":
        query = query.where(checkpoints.c.job_id == _best().scalar_subquery())
    elif not at and ALIAS.fullmatch(name):
        query = query.join(aliases, aliases.c.job_id == checkpoints.c.job_id)
        query = query.where(aliases.c.name == name, checkpoints.c.seq == aliases.c.seq)
    else:
        query = query.where(checkpoints.c.job_id == job_id)
    if at:
        if not re.fullmatch(r"[0-9]{1,6}", epoch):
            raise NotFound(f"There is no model {name!r}: after @ comes the number of an epoch.")
        query = query.where(checkpoints.c.epoch == int(epoch))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(*_why_not_found(name))
    values = dict(row)
    spec = TrainSpec.model_validate(values.pop("spec"))
    return ModelRow(_checkpoint(values), spec)


def _best() -> Select[tuple[str]]:
    has_ended = jobs.c.ended_event.is_not(None), jobs.c.accuracy.is_not(None)
    query = select(jobs.c.id).where(jobs.c.state == "succeeded", *has_ended)
    return query.order_by(jobs.c.accuracy.desc(), jobs.c.ended_event.desc()).limit(1)


def _why_not_found(name: str) -> tuple[str, str]:
    if name in ("best", "latest"):
        return f"No job has succeeded yet, so there is no {name} model.", "Train one: POST /jobs."
    lists = "GET /models lists the models, GET /aliases their aliases, GET /jobs/{id}/checkpoints their epochs."
    return f"There is no model {name!r}.", lists


def is_aliased() -> ColumnElement[bool]:
    """Return the SQL condition that an alias refers to a checkpoint, which must then be kept."""
    return exists().where(aliases.c.job_id == checkpoints.c.job_id, aliases.c.seq == checkpoints.c.seq)


def list_models(engine: Engine, *, after: str | None, limit: int) -> list[ModelRow]:
    """Return the last checkpoint of up to `limit` jobs, newest job first, after the job `after` in that order."""
    # The jobs of the page first: a group over all checkpoints of a year takes seconds.
    trained, paged = checkpoints.alias(), jobs.alias()
    has_one = exists().where(trained.c.job_id == paged.c.id, trained.c.phase == "train")
    page = select(paged.c.id).where(has_one).order_by(paged.c.id.desc()).limit(limit)
    if after is not None:
        page = page.where(paged.c.id < after)
    of_job = (trained.c.job_id == checkpoints.c.job_id, trained.c.phase == "train")
    last = select(func.max(trained.c.seq)).where(*of_job).scalar_subquery()
    query = (
        select(checkpoints, jobs.c.spec)
        .join(jobs, jobs.c.id == checkpoints.c.job_id)
        .where(checkpoints.c.job_id.in_(page), checkpoints.c.seq == last)
        .order_by(checkpoints.c.job_id.desc())
    )
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    specs = [TrainSpec.model_validate(values.pop("spec")) for values in rows]
    return [ModelRow(_checkpoint(values), spec) for values, spec in zip(rows, specs, strict=True)]


@dataclass(frozen=True)
class JobFiles:
    """The files of a job: those that its rows point to, and the attempt in progress that may be writing more."""

    is_known: bool
    is_deleted: bool
    is_open: bool = False
    run_id: str = ""
    attempt: int = 0
    paths: frozenset[str] = frozenset()


def files_of_job(engine: Engine, job_id: str) -> JobFiles:
    """Return the files of a job as the database lists them; `is_known` is False for a job without a row."""
    with engine.connect() as connection:
        query = select(jobs.c.state, runs.c.id, runs.c.attempt, runs.c.ended_at).join(runs, jobs.c.run_id == runs.c.id)
        row = connection.execute(query.where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            gone = connection.execute(select(deleted_jobs.c.id).where(deleted_jobs.c.id == job_id)).first()
            return JobFiles(is_known=False, is_deleted=gone is not None)
        columns = select(checkpoints.c.weights_path, checkpoints.c.resume_path).where(checkpoints.c.job_id == job_id)
        paths = frozenset(path for pair in connection.execute(columns) for path in pair if path)
    return JobFiles(True, False, row.ended_at is None, row.id, row.attempt, paths)


def trim_ended_jobs(engine: Engine, keep: int) -> list[str]:
    """Delete the rows of all but the newest `keep` checkpoints of succeeded and cancelled jobs; return their files.

    Checkpoints with an alias are kept and not counted.
    """
    rank = func.row_number().over(partition_by=checkpoints.c.job_id, order_by=checkpoints.c.seq.desc()).label("rank")
    ranked = (
        select(checkpoints.c.job_id, checkpoints.c.seq, checkpoints.c.weights_path, checkpoints.c.resume_path, rank)
        .join(jobs, jobs.c.id == checkpoints.c.job_id)
        .where(jobs.c.state.in_(["succeeded", "cancelled"]), checkpoints.c.phase == "train", ~is_aliased())
        .subquery()
    )
    with writing(engine) as connection:
        count_change(connection)
        if files_are_held(connection):
            return []
        old = connection.execute(select(ranked).where(ranked.c.rank > keep)).all()
        for row in old:
            connection.execute(
                delete(checkpoints).where(checkpoints.c.job_id == row.job_id, checkpoints.c.seq == row.seq)
            )
    return [path for row in old for path in (row.weights_path, row.resume_path) if path]
