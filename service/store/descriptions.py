"""What people write about jobs and experiments, to find them again: a name, a note, and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import ColumnElement, Connection, Table, delete, exists, func, insert, select, update

from service.errors import InvalidLabels, PreconditionFailed
from service.store.tables import labels

MAX_LABELS = 16
COMMON = 2000
ANY_VERSION = "*"
Versions = tuple[str, ...]
"""Versions of a row, of which it must have one; `*` is any."""
_UNSEEN = r"\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Control characters, separators of lines, and what turns the direction of a text."""
_PRINTABLE = rf"^[^\x00-\x1f{_UNSEEN}]+$"
_NOTE = rf"^[^\x00-\x08\x0b\x0c\x0e-\x1f{_UNSEEN}]*$"
_KEY = r"^[a-z0-9][a-z0-9._/-]*$"

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=_PRINTABLE)]
Note = Annotated[str, StringConstraints(max_length=2000, pattern=_NOTE)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=_KEY)]
LabelText = Annotated[str, StringConstraints(max_length=127, pattern=_PRINTABLE)]
"""A label in a filter: `key:value`, or `key`."""

LabelValue = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=63, pattern=_PRINTABLE)]

RULE_OF_PATTERN = {
    _PRINTABLE: "it has a character that is not printable, such as a line break",
    _NOTE: "it has a character that is not printable; line breaks and tabs are allowed",
    _KEY: "a label's key has only lower-case letters, digits, and ./_- after the first character",
}
"""What each pattern means, for the errors that users read."""

NAME = "Up to 100 characters, none of them a control character."
NOTE = "Up to 2,000 characters; it may have several lines."
LABELS = (
    f"Up to {MAX_LABELS} labels. Keys have up to 63 lower-case letters, digits and ./_-, values up to 63 characters."
)


class Description(BaseModel):
    """A name, a note and labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name | None = Field(None, description=NAME)
    note: Note | None = Field(None, description=NOTE)
    labels: dict[LabelKey, LabelValue] = Field({}, max_length=MAX_LABELS, description=LABELS)


class DescriptionChange(BaseModel):
    """Changes of a description, as a JSON merge patch (RFC 7396): null removes a name, a note or a label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name | None = Field(None, description=NAME)
    note: Note | None = Field(None, description=NOTE)
    labels: dict[LabelKey, LabelValue | None] = Field(
        {}, max_length=2 * MAX_LABELS, description=f"{LABELS} The others stay."
    )


class LabelFilter(NamedTuple):
    """A label that a list is limited to; any value if that is None."""

    key: str
    value: str | None

    @classmethod
    def of(cls, text: str) -> LabelFilter:
        """Read `key:value`, or `key`."""
        key, colon, value = text.partition(":")
        return cls(key, value if colon else None)

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on a row of `labels`."""
        of_value = [] if self.value is None else [labels.c.value == self.value]
        return [labels.c.key == self.key, *of_value]


def labels_of(connection: Connection, owner_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the labels of jobs and experiments, by id; of an id without labels, an empty dictionary."""
    by_owner: dict[str, dict[str, str]] = {owner_id: {} for owner_id in owner_ids}
    query = select(labels).where(labels.c.owner_id.in_(owner_ids)).order_by(labels.c.owner_id, labels.c.key)
    for owner_id, key, value in connection.execute(query):
        by_owner[owner_id][key] = value
    return by_owner


def has_label(owner_id: ColumnElement[str], wanted: LabelFilter, *, is_common: bool = False) -> ColumnElement[bool]:
    """Return the condition that the owner with this id has a label.

    SQLite collects the ids of all owners of a label first. If the label `is_common`, the condition makes it look at
    each owner in the order of the list instead: few of them, until a page is full.
    """
    if is_common:
        return exists().where(labels.c.owner_id == owner_id, *wanted.conditions)
    return owner_id.in_(select(labels.c.owner_id).where(*wanted.conditions))


def is_common(connection: Connection, wanted: LabelFilter) -> bool:
    """Return whether more than `COMMON` owners have a label."""
    owners = select(labels.c.owner_id).where(*wanted.conditions).limit(COMMON + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(owners)).scalar_one()) > COMMON


def insert_labels(connection: Connection, owner_id: str, of_owner: Mapping[str, str]) -> None:
    """Insert labels of a job or an experiment, in the caller's transaction."""
    rows = [{"owner_id": owner_id, "key": key, "value": value} for key, value in of_owner.items()]
    if rows:
        connection.execute(insert(labels), rows)


def delete_labels(connection: Connection, owner_ids: Sequence[str]) -> None:
    """Delete all labels of jobs or experiments, in the caller's transaction."""
    connection.execute(delete(labels).where(labels.c.owner_id.in_(owner_ids)))


def change_description(connection: Connection, table: Table, owner_id: str, change: DescriptionChange) -> None:
    """Change the description of a row of `jobs` or `experiments` that the caller has locked, and its version.

    Raises `InvalidLabels` if it then had too many labels.
    """
    texts: dict[str, Any] = {name: getattr(change, name) for name in {"name", "note"} & change.model_fields_set}
    changed = update(table).where(table.c.id == owner_id)
    connection.execute(changed.values(version=table.c.version + 1, **texts))
    if not change.labels:
        return
    after = labels_of(connection, [owner_id])[owner_id] | change.labels
    kept = {key: value for key, value in after.items() if value is not None}
    if len(kept) > MAX_LABELS:
        raise InvalidLabels(
            f"{owner_id} would have {len(kept)} labels; at most {MAX_LABELS} are allowed.",
            'Remove some in the same request: {"labels": {"key": null}}.',
        )
    delete_labels(connection, [owner_id])
    insert_labels(connection, owner_id, kept)


def has_version(version: int, wanted: Versions) -> bool:
    """Return whether `wanted` has this version, or `*`."""
    return not {ANY_VERSION, str(version)}.isdisjoint(wanted)


def require_version(owner_id: str, version: int, if_match: Versions | None) -> None:
    """Raise `PreconditionFailed` if `if_match` is not None and has neither `*` nor this version."""
    if if_match is not None and not has_version(version, if_match):
        raise PreconditionFailed(
            f"{owner_id} is at version {version}; it has changed since version {' or '.join(if_match)}.",
            "Fetch it again with GET, and send its ETag.",
        )
