"""Reading what is typed: fields of a spec, labels, lists of seeds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

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
            if not isinstance(place, dict):
                raise argparse.ArgumentTypeError(f"{pair!r} sets a part of {parent!r}, which is set as a whole already")
        place[last] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with changes: a part that both have as an object is merged."""
    result = dict(base)
    for name, value in changes.items():
        before = result.get(name)
        result[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def count(text: str) -> int:
    """Return a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def labels(pairs: Iterable[str]) -> dict[str, str] | None:
    """Return the labels that `--label course=a` names; None without any."""
    found = {}
    for pair in pairs:
        key, sign, value = pair.replace(":", "=", 1).partition("=")
        if not sign:
            raise argparse.ArgumentTypeError(f"{pair!r} is not KEY=VALUE, such as course=a")
        found[key] = value
    return found or None


def listed_labels(texts: list[str] | None) -> list[str] | None:
    """Return labels as lists read them, KEY:VALUE; KEY=VALUE is read too."""
    return None if texts is None else [text if ":" in text else text.replace("=", ":", 1) for text in texts]


def seeds(text: str) -> list[int]:
    """Return the seeds in `0,1,5` or `0-4`."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds, such as 0,1,2 or 0-4")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers:
            raise argparse.ArgumentTypeError(f"{part!r} holds no seed: the first is larger than the last")
        if len(found) + len(numbers) > MAX_SEEDS:
            raise argparse.ArgumentTypeError(f"{text!r} are more than {MAX_SEEDS} seeds")
        found += numbers
    return found


def rates(text: str) -> Literal["auto"] | list[float]:
    """Return the learning rates in `0.01,0.03`, or "auto"."""
    if text == "auto":
        return "auto"
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor learning rates, such as 0.01,0.03") from None


def spec_in(file: Path | None) -> dict[str, Any]:
    """Return the spec in a file of JSON; empty without a file. Raises `ValueError` and `OSError`."""
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError(f"{file} holds no JSON object.")
    return content
