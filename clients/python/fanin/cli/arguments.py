"""Reading what is typed: fields of a spec, labels, lists of seeds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAX_SEEDS = 1000


def fields(pairs: Iterable[str]) -> dict[str, Any]:
    """Return the fields that `--set optimizer.lr=0.01` names; values are JSON, or else texts."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not all(name.split(".")):
            raise argparse.ArgumentTypeError(f"{pair!r} is not FIELD=VALUE, such as epochs=3 or optimizer.lr=0.01")
        place = found
        *parents, last = name.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def labels(pairs: Iterable[str]) -> dict[str, str] | None:
    """Return the labels that `--label course=a` names; None without any."""
    found = {}
    for pair in pairs:
        key, sign, value = pair.replace(":", "=", 1).partition("=")
        if not sign:
            raise argparse.ArgumentTypeError(f"{pair!r} is not KEY=VALUE, such as course=a")
        found[key] = value
    return found or None


def seeds(text: str) -> list[int]:
    """Return the seeds in `0,1,5` or `0-4`."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds, such as 0,1,2 or 0-4")
        found += range(int(first), int(last if dash else first) + 1)
        if len(found) > MAX_SEEDS:
            raise argparse.ArgumentTypeError(f"{text!r} are more than {MAX_SEEDS} seeds")
    return found


def spec_in(file: Path | None) -> dict[str, Any]:
    """Return the spec in a file of JSON; empty without a file. Raises `ValueError` and `OSError`."""
    if file is None:
        return {}
    content = json.loads(file.read_text())
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError(f"{file} holds no JSON object.")
    return content
