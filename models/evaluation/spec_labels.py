"""The fields in which specs differ, and short names of groups of specs made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.spec import TrainSpec


def flattened(spec: TrainSpec) -> dict[str, Any]:
    """Return the fields of a spec by dotted names, such as `init.gain`."""
    fields: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, below in value.items():
                visit(f"{prefix}.{name}" if prefix else name, below)
        else:
            fields[prefix] = value

    visit("", spec.model_dump(mode="json"))
    return fields


def differing_fields(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the fields, except the seed, in which the flattened specs differ."""
    names = list(dict.fromkeys(name for fields in flat for name in fields))
    return [name for name in names if name != "seed" and len({repr(fields.get(name)) for fields in flat}) > 1]


def short_names(flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each flattened spec: its scheme, and the other fields in which specs of this scheme differ.

    Specs that differ in more than their seed have different names.
    """
    schemes = {spec["init.scheme"] for spec in flat}
    varying = {scheme: differing_fields([spec for spec in flat if spec["init.scheme"] == scheme]) for scheme in schemes}
    return [", ".join([spec["init.scheme"], *_fields_shown(spec, varying[spec["init.scheme"]])]) for spec in flat]


def _fields_shown(flat: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [f"{name.rpartition('.')[2]} {_format_value(flat[name])}" for name in names if flat.get(name) is not None]


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} x {value[0]}" if len(set(value)) == 1 else "-".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)
