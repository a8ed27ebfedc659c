"""Tables on the screen and JSON in docs/measurements, with the machine and the versions they hold for."""

from __future__ import annotations

import datetime as dt
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from service.processes.hardware import processor_name, usable_cores

FOLDER = Path(__file__).parents[1] / "docs" / "measurements"


def machine() -> dict[str, Any]:
    """Return what the numbers depend on: processor, cores, versions, date."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "processor": processor_name(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "fanin": version("fanin"),
    }


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table, which reads well on a terminal too."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", flush=True)


def write_json(name: str, command: str, results: dict[str, Any]) -> Path:
    """Write the results of a command with the machine they hold for, and return the file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"command": command, "machine": machine()} | results, indent=2) + "\n")
    print(f"\nWritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path
