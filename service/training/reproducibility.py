"""The pins of a run: what must stay the same in all attempts for an interrupted run to end with the same bits."""

from __future__ import annotations

from typing import Any

import torch

from models.data.mnist import DataSet
from models.training.engine import STACKED, best_engine, is_available
from service.store.attempts import Attempt
from service.training.context import Device

DECIDING = ("engine", "precision", "torch", "device", "device_name")
"""The pins that decide the bits and that an attempt cannot choose; it keeps the engine where that is available."""
SIDE_BY_SIDE = "jobs_side_by_side"
"""How many jobs began the attempt; the bits depend on it where one matrix product serves all jobs."""


def pinned(attempt: Attempt, data: DataSet, device: Device) -> tuple[dict[str, Any], str | None]:
    """Return the pins of the attempt, and why its bits may differ from an earlier attempt's (or None)."""
    spec, pins = attempt.members[0].spec, attempt.pins
    engine = best_engine(spec, device.torch_device)
    if pins is not None and is_available(pins["engine"], device.torch_device):
        engine = pins["engine"]
    current = {
        "engine": engine,
        "precision": spec.precision if device.kind == "cuda" else "float32",
        "torch": torch.__version__,
        "device": device.kind,
        "device_name": device.name,
        "threads": device.threads,
        "data": data.name,
        "data_sha256": data.sha256,
        SIDE_BY_SIDE: len(attempt.members),
    }
    if pins is None:
        return current, None
    deciding = (*DECIDING, SIDE_BY_SIDE) if engine == STACKED else DECIDING
    differing = [name for name in deciding if pins.get(name, current[name]) != current[name]]
    if not differing:
        return pins, None
    changes = ", ".join(f"{name} {pins[name]} -> {current[name]}" for name in differing)
    return pins | {name: current[name] for name in differing}, f"A later attempt ran with {changes}."
