"""Which tiles are the fastest on a card: each candidate in place of the plan's own, the whole step timed.

Informs the defaults of `models.training.triton.plan`, which may depend on network, batch and card alone. Says of each
candidate whether the parameters after some steps have the bits that the plan's own tiles give.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_steps import BATCH, CUDA, DEEP, LR, REFERENCE, Bench, Case
from models.training.triton.launches import Launches
from models.training.triton.plan import Plan, ProductTile, UpdateTile, for_many
from models.training.triton.step import TritonStep

CASES = [Case(), Case(count=64), Case(DEEP)]
STEPS, REPLAYS = 20, 6
PARTS = ("forward 1", "forward", "head", "backward", "update", "last")
FIRST = [
    ProductTile(16, 16, 256, 4, whole=True),
    ProductTile(16, 16, 64, 4, whole=False, stages=3),
    ProductTile(32, 16, 256, 4, whole=True),
    ProductTile(32, 16, 128, 8, whole=True, warps=8),
    ProductTile(32, 16, 64, 4, whole=False, stages=3),
    ProductTile(32, 32, 64, 4, whole=False, stages=3),
    ProductTile(32, 32, 64, 1, whole=False, stages=3),
    ProductTile(32, 64, 64, 1, whole=False, stages=3),
    ProductTile(32, 64, 64, 4, whole=False, warps=8, stages=2, serial=True),
    ProductTile(32, 64, 64, 4, whole=False, stages=2, serial=True),
]
HIDDEN = {
    REFERENCE: [
        ProductTile(16, 16, 128, 2, whole=True, warps=2),
        ProductTile(16, 16, 64, 4, whole=True),
        ProductTile(16, 32, 64, 4, whole=True),
        ProductTile(32, 32, 64, 4, whole=True),
        ProductTile(32, 32, 64, 1, whole=False, stages=3),
        ProductTile(32, 64, 32, 1, whole=False, stages=3),
        ProductTile(32, 64, 64, 4, whole=False, warps=8, stages=2, serial=True),
        ProductTile(32, 64, 64, 4, whole=False, stages=2, serial=True),
    ],
    DEEP: [
        ProductTile(16, 16, 128, 4, whole=True),
        ProductTile(16, 16, 64, 4, whole=False, stages=2),
        ProductTile(16, 16, 64, 4, whole=False, stages=3),
        ProductTile(16, 32, 64, 4, whole=False, stages=2),
        ProductTile(16, 32, 32, 4, whole=False, stages=3),
        ProductTile(32, 32, 64, 1, whole=False, stages=3),
        ProductTile(32, 64, 32, 1, whole=False, stages=3),
        ProductTile(32, 64, 64, 4, whole=False, stages=2, serial=True),
    ],
}
LAST = [
    UpdateTile(64, 16, 128, whole=True),
    UpdateTile(64, 16, 128, whole=True, state=1),
    UpdateTile(64, 16, 128, whole=True, state=2),
    UpdateTile(64, 32, 128, whole=True),
    UpdateTile(64, 32, 128, whole=True, warps=8),
    UpdateTile(64, 32, 64, whole=False, stages=1, state=2),
    UpdateTile(64, 32, 64, whole=False, stages=2),
    UpdateTile(64, 32, 32, whole=False, stages=3),
    UpdateTile(64, 32, 32, whole=False, stages=3, state=2),
    UpdateTile(64, 32, 32, whole=False, stages=3, state=2, registers=128),
    UpdateTile(32, 32, 32, whole=False, stages=3, state=2),
    UpdateTile(64, 16, 32, whole=False, stages=3, state=2),
]


def candidates(plan: Plan, hidden: tuple[int, ...]) -> Iterator[tuple[str, str, Plan]]:
    """Return plans that differ from one in a part: the part's name, the candidate in words, and the plan."""
    yield "all", "for many", for_many(plan)
    for tile in FIRST:
        yield "forward 1", str(tile), dataclasses.replace(plan, forward=(tile, *plan.forward[1:]))
    for tile in HIDDEN[hidden]:
        hidden_tiles = (tile,) * (len(plan.forward) - 1)
        yield "forward", str(tile), dataclasses.replace(plan, forward=(plan.forward[0], *hidden_tiles))
        if tile.warps == plan.backward[0][0].warps:
            back = tuple((tile, update) for _, update in plan.backward)
            yield "backward", str(tile), dataclasses.replace(plan, backward=back)
    for columns in (32, 64, 128, 256):
        yield "head", str(columns), dataclasses.replace(plan, head=dataclasses.replace(plan.head, columns=columns))
    for update in LAST:
        yield "last", str(update), dataclasses.replace(plan, last=(update, update))
        if hidden == DEEP and update.warps == plan.backward[0][0].warps:
            back = (plan.backward[0], *((tile, update) for tile, _ in plan.backward[1:]))
            yield "update", str(update), dataclasses.replace(plan, backward=back)


def tune(bench: Bench, until: float) -> Iterator[dict[str, Any]]:
    """Time every candidate of every case until a time of `time.monotonic`, then the best of all parts together.

    Yields a row for each. The best of all parts twice: of all candidates, and of those that keep the plan's bits.
    """
    for case in CASES:
        measured = _Measured(bench, case)
        yield measured.row("plan", "", measured.plan)
        for part, words, candidate in candidates(measured.plan, case.hidden):
            if time.monotonic() > until:
                break
            yield measured.row(part, words, candidate)
            if measured.broken:
                return
        for words, same_bits in (("of all", False), ("with the plan's bits", True)):
            yield measured.row("together", words, measured.best(same_bits=same_bits))


class _Measured:
    """What has been measured of a case."""

    def __init__(self, bench: Bench, case: Case) -> None:
        self.bench, self.case, self.plan = bench, case, bench.default_plan(case)
        self.broken = False
        self._step = bench.kernels(case)
        self._start = [tensor.clone() for tensor in self._step.changing]
        self._orders = bench.orders(case.count, STEPS * BATCH)
        self._usual: Tensor | None = None
        self._fastest: dict[tuple[str, bool], tuple[float, Plan]] = {}

    def row(self, part: str, words: str, plan: Plan) -> dict[str, Any]:
        """Time a plan; the first is the one whose bits the others are compared with."""
        row = {"case": self.case.name, "part": part, "tile": words}
        self._step._launches = launches_with(self._step, plan, self.case)  # noqa: SLF001 - nobody else changes a plan
        try:
            us, values = _timed(self.bench, self._step, self._orders, self._start)
        except Exception as error:  # noqa: BLE001 - a candidate that fails is told, and the others go on
            self.broken = "CUDA error" in repr(error)
            return row | {"failed": repr(error)[:200]}
        self._usual = values if self._usual is None else self._usual
        bits = torch.equal(values, self._usual)
        for same_bits in (False, True) if bits else (False,):
            before = self._fastest.get((part, same_bits), self._fastest["plan", True] if part != "plan" else None)
            if before is None or us < before[0]:
                self._fastest[part, same_bits] = (us, plan)
        return row | {"us": us, "bits": bits}

    def best(self, *, same_bits: bool) -> Plan:
        """Return the plan of the fastest tiles of each part, each measured by itself."""
        of = {part: self._fastest.get((part, same_bits), (0.0, self.plan))[1] for part in PARTS}
        products = [product for product, _ in of["backward"].backward]
        updates = [update for _, update in of["update"].backward]
        return dataclasses.replace(
            self.plan,
            forward=(of["forward 1"].forward[0], *of["forward"].forward[1:]),
            head=of["head"].head,
            backward=tuple(zip(products, updates, strict=True)),
            last=of["last"].last,
        )


def launches_with(step: TritonStep, plan: Plan, case: Case) -> Launches:
    """Return a step's launches by another plan."""
    return Launches(plan, step.parameters, step._rule, case.activation, case.precision)  # noqa: SLF001


def best_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the fastest row of each part of each case."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["case"], row["part"])
        if "us" in row and (key not in best or row["us"] < best[key]["us"]):
            best[key] = row
    return list(best.values())


def _timed(bench: Bench, step: TritonStep, orders: Tensor, start: list[Tensor]) -> tuple[float, Tensor]:
    """Return microseconds a step, the median of some replays of a graph, and the parameters after the first."""
    for tensor, old in zip(step.changing, start, strict=True):
        tensor.copy_(old)
    rates = torch.full((STEPS,), LR, device=CUDA)
    images, labels = bench.set.lit, bench.set.labels
    step.run_steps(images, labels, orders, rates)
    values = step.parameters.values.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.run_steps(images, labels, orders, rates)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]  # type: ignore[no-untyped-call]
    graph.replay()
    for event in events[:-1]:
        event.record()
        graph.replay()
    events[-1].record()
    torch.cuda.synchronize()
    times = sorted(first.elapsed_time(second) for first, second in pairwise(events))
    return round(1e3 * times[len(times) // 2] / STEPS, 2), values
