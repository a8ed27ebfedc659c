"""Bodies of submissions and edits from the arguments of `create` and `edit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from fanin.record import Record

Json = Mapping[str, Any]
Priority = Literal["high", "normal", "low"]
Device = Literal["any", "cpu", "gpu"]
State = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
Sort = Literal["created_at", "-created_at", "accuracy", "-accuracy", "loss", "-loss"]


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None; dictionaries and lists are copied as JSON has them."""
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def id_of(thing: Any) -> str:
    """Return a name, or that of a job, a model or an experiment. Raises `TypeError` and `ValueError` for no name."""
    if not isinstance(thing, str | int):
        thing = getattr(thing, "checkpoint", None) or getattr(thing, "id", None)
    if not isinstance(thing, str | int) or isinstance(thing, bool):
        raise TypeError("This is no name: pass an id, such as job.id, or a job, a model or an experiment.")
    if thing in ("", ".", ".."):
        raise ValueError(f"{thing!r} is no name: it is empty, or it means another path.")
    return str(thing)


def named(part: str | Json | None, key: str) -> Json | None:
    """Return a part of a spec that may be given by its name alone: `"he_normal"` is `{"scheme": "he_normal"}`."""
    return {key: part} if isinstance(part, str) else part


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if getattr(value, "ndim", None) == 0:  # a number of NumPy or torch
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    return value


class Unset:
    """Stands for an argument that was left out, where None means that something is removed."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


def changes(
    *,
    name: str | Unset | None,
    note: str | Unset | None,
    labels: Mapping[str, str | None] | None,
    priority: str | None,
) -> dict[str, Any]:
    """Return the body of an edit: a JSON merge patch (RFC 7396) with what was passed."""
    texts = {key: value for key, value in (("name", name), ("note", note)) if not isinstance(value, Unset)}
    return texts | given(labels=labels, priority=priority)


def condition(version: int | None) -> dict[str, str]:
    """Return the header that asks for a version; empty without one."""
    return {} if version is None else {"If-Match": f'"{version}"'}
