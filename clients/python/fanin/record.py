"""Answers of the service as objects."""

from __future__ import annotations

import copy
import datetime as dt
import types
import typing
from collections.abc import Mapping
from typing import Any

MAX_SHOWN_CHARACTERS = 60


class Record:
    """An answer of the service, or a part of one: its attributes are those of the API, and `to_dict()` is the JSON.

    Attributes that a newer service adds are there too. One that this answer does not have is None if it may be, and
    else raises `AttributeError`, which says so.
    """

    _data: dict[str, Any]

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = dict(data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        kind = _kinds(type(self)).get(name)
        if name not in self._data and not _may_be_none(kind):
            more = (
                "; refresh() fetches all of it" if hasattr(type(self), "refresh") and name in _kinds(type(self)) else ""
            )
            raise AttributeError(f"This answer of the service has no {name!r}{more}. It has: {', '.join(self._data)}.")
        value = _read(self._data.get(name), kind)
        self.__dict__[name] = value
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as the service sent it, as a copy."""
        return copy.deepcopy(self._data)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the answer alone: a job that comes from another process has no connection."""
        plain = next(one for one in type(self).__mro__ if one.__module__ in ("fanin.answers", __name__))
        return plain, (self._data,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self._data == other._data

    __hash__ = None  # type: ignore[assignment]  # it is a view of a dictionary

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._data})

    def __repr__(self) -> str:
        shown = [f"{name}={_short(value)}" for name, value in self._data.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{...}" if value else "{}"
    if isinstance(value, list) and len(repr(value)) > MAX_SHOWN_CHARACTERS:
        return f"[... {len(value)} ...]"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


_kinds_of: dict[str, dict[str, Any]] = {}


def _kinds(kind: type[Record]) -> dict[str, Any]:
    """Return the annotated types of a record's attributes."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name not in _kinds_of:
        _kinds_of[name] = typing.get_type_hints(kind)
    return _kinds_of[name]


def _may_be_none(kind: Any) -> bool:
    """Return whether a type is `... | None`: the service leaves some such attributes out."""
    return type(None) in typing.get_args(kind)


def _may_be(value: Any, kind: Any) -> bool:
    """Return whether a value may have one of several annotated types: of records, the first that knows all keys."""
    if isinstance(kind, type) and issubclass(kind, Record):
        return isinstance(value, dict) and value.keys() <= _kinds(kind).keys()
    return True


def _read(value: Any, kind: Any) -> Any:
    """Return a value of JSON as the annotated type says: records, times, and lists and dictionaries of them."""
    if value is None or kind is None:
        return value
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        alternatives = [one for one in typing.get_args(kind) if one is not type(None)]
        return _read(value, next((one for one in alternatives if _may_be(value, one)), None))
    if origin is list and isinstance(value, list):
        return [_read(one, typing.get_args(kind)[0]) for one in value]
    if origin is dict and isinstance(value, dict):
        return {key: _read(one, typing.get_args(kind)[1]) for key, one in value.items()}
    if kind is dt.datetime and isinstance(value, str):
        return dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if isinstance(kind, type) and issubclass(kind, Record) and isinstance(value, dict):
        return kind(value)
    return value
