"""Lists of jobs: filtered, sorted, and divided into pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Select, tuple_

from service.errors import InvalidCursor
from service.store.descriptions import LabelFilter, has_label, is_common
from service.store.jobs import JobRow, JobState, jobs_with_runs, may_be_after, may_be_an_id
from service.store.tables import jobs

Sort = Literal["-created_at", "created_at", "-accuracy", "accuracy", "-loss", "loss"]
NEWEST_FIRST: Sort = "-created_at"
WITHOUT_VALUE = "none"


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list has: in one of these states, of this scheme, with all of these labels; nothing means any."""

    states: Sequence[JobState] = ()
    scheme: str | None = None
    labels: Sequence[LabelFilter] = ()

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on a row of `jobs`."""
        return self._but_labels + [has_label(jobs.c.id, wanted) for wanted in self.labels]

    def conditions_in(self, connection: Connection, sort: Sort) -> list[ColumnElement[bool]]:
        """Return the same conditions in the form that is fast for a page of a list in this order."""
        of_one_label = len(self.labels) == 1 and not self._but_labels and _column_of(sort) is None
        return self._but_labels + [
            has_label(jobs.c.id, wanted, is_common=not of_one_label and is_common(connection, wanted))
            for wanted in self.labels
        ]

    @property
    def _but_labels(self) -> list[ColumnElement[bool]]:
        of_state = [jobs.c.state.in_(self.states)] if self.states else []
        of_scheme = [] if self.scheme is None else [jobs.c.scheme == self.scheme]
        return of_state + of_scheme


class _Cursor(NamedTuple):
    """The last job of a page: its id, and the value that the list is sorted by."""

    job_id: str
    value: float | None


def list_jobs(
    engine: Engine,
    wanted: JobFilter | None = None,
    *,
    sort: Sort = NEWEST_FIRST,
    after: str | None = None,
    limit: int = 100,
) -> list[JobRow]:
    """Return up to `limit` jobs, starting after the job of a cursor (`cursor_of`).

    Jobs of equal value follow each other newest first, and jobs without a value (no accuracy yet) come last. Raises
    `InvalidCursor` if the cursor is not one of this order.
    """
    column = _column_of(sort)
    with engine.connect() as connection:
        query = jobs_with_runs.where(*(wanted or JobFilter()).conditions_in(connection, sort))
        if column is None:
            if after is not None and not may_be_after(after, "job_"):
                raise _wrong(after)
            return _by_id(connection, query, sort, after, limit)
        cursor = None if after is None else _read_cursor(after, column.name)
        return _by_value(connection, query, sort, cursor, limit)


def cursor_of(row: JobRow, sort: Sort) -> str:
    """Return the cursor of the page that follows a job, in characters that need no escape in a URL."""
    column = _column_of(sort)
    if column is None:
        return row.id
    value = getattr(row, column.name)
    text = WITHOUT_VALUE if value is None else float(value).hex().replace("+", "")
    return f"{column.name}.{text}@{row.id}"


def _by_id(connection: Connection, query: Select[Any], sort: Sort, after: str | None, limit: int) -> list[JobRow]:
    is_descending = sort.startswith("-")
    if after is not None:
        query = query.where(jobs.c.id < after if is_descending else jobs.c.id > after)
    order = jobs.c.id.desc() if is_descending else jobs.c.id
    return JobRow.all_of(connection, query.order_by(order).limit(limit))


def _by_value(
    connection: Connection, query: Select[Any], sort: Sort, cursor: _Cursor | None, limit: int
) -> list[JobRow]:
    """Return those with a value by an index on it, and then those without one, by the same index."""
    column = _column_of(sort)
    assert column is not None
    rows: list[JobRow] = []
    if cursor is None or cursor.value is not None:
        valued = query.where(column.is_not(None))
        key = tuple_(column, jobs.c.id)
        if cursor is not None:
            last = tuple_(cursor.value, cursor.job_id)
            valued = valued.where(key < last if sort.startswith("-") else key > last)
        order = (column.desc(), jobs.c.id.desc()) if sort.startswith("-") else (column, jobs.c.id)
        rows = JobRow.all_of(connection, valued.order_by(*order).limit(limit))
    if len(rows) < limit:
        rest = query.where(column.is_(None))
        if cursor is not None and cursor.value is None:
            rest = rest.where(jobs.c.id < cursor.job_id)
        rows += JobRow.all_of(connection, rest.order_by(jobs.c.id.desc()).limit(limit - len(rows)))
    return rows


def _column_of(sort: Sort) -> ColumnElement[float] | None:
    name = sort.removeprefix("-")
    return None if name == "created_at" else jobs.c[name]


def _read_cursor(text: str, order: str) -> _Cursor:
    value_of, _, job_id = text.rpartition("@")
    name, _, value = value_of.partition(".")
    if name != order or not may_be_an_id(job_id):
        raise _wrong(text)
    with suppress(ValueError, OverflowError):
        number = None if value == WITHOUT_VALUE else float.fromhex(value)
        if number is None or math.isfinite(number):
            return _Cursor(job_id, number)
    raise _wrong(text)


def _wrong(text: str) -> InvalidCursor:
    return InvalidCursor(f"{text!r} is not a cursor of this order.", "Follow the link rel=next of the page before.")
