"""The engine `triton-step` on a real card: memcheck's launches, correctness, times, tiles. See `gpu_engine.sh`.

Each part prints a line a result and adds it to a JSON file, so that what fails or runs out of time loses nothing else.
Needs torch with CUDA, Triton, numpy, pydantic, safetensors and MNIST.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch
import triton
from torch import Tensor

from benchmarks import gpu_tuning
from benchmarks.gpu_steps import BATCH, CUDA, DEEP, LR, Bench, Case, parameters_of
from models.spec import SGD, Adam
from models.training.step import CapturableStep
from models.training.triton.plan import for_many
from models.vocabulary import Activation

CHECKED_STEPS = 100
NEARNESS = [Case(), Case(count=4), Case(count=64), Case(DEEP)]
ODD = Case((37, 50, 33), count=2, batch=33)
VARIED = [
    *(dataclasses.replace(ODD, activation=activation) for activation in get_args(Activation)),
    dataclasses.replace(ODD, optimizer=SGD(lr=0.1, momentum=0.9, weight_decay=0.01), hidden=(20,)),
    dataclasses.replace(ODD, optimizer=SGD(lr=0.1), hidden=(300,)),
    dataclasses.replace(ODD, optimizer=Adam(weight_decay=0.1), batch=150),
    dataclasses.replace(ODD, hidden=(1030, 40), count=1),
    dataclasses.replace(ODD, hidden=(20,) * 64, count=1),
]
PRECISE = [dataclasses.replace(Case(), precision=precision) for precision in ("float32", "tf32", "bf16")]
TIMED = [
    (Case(), 3),
    (Case(DEEP), 3),
    *((dataclasses.replace(case, count=64), 1) for case in PRECISE),
    *((case, 1) for case in PRECISE[1:]),
]
MANY = [Case(count=64)]
TIMED_IN_TORCH = [(Case(), 1), (Case(DEEP), 1), (Case(count=64), 1)]


def main() -> None:
    """Run a part; add its results to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["compile", "memcheck", "check", "times", "tune", "table"])
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("gpu_engine.json"))
    parser.add_argument("--seconds", type=float, default=60, help="tune: how long")
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), help="compile: which share of how many")
    options = parser.parse_args()
    if options.part == "table":
        _table(options.out)
        return
    until = time.monotonic() + options.seconds
    bench = Bench(options.data_dir)
    if options.part == "compile":
        _compile(bench, *options.share)
        return
    parts = {"memcheck": _memcheck, "check": _check, "times": _times}
    results = gpu_tuning.tune(bench, until) if options.part == "tune" else parts[options.part](bench)
    rows = []
    for row in results:
        rows.append(row)
        print(options.part, json.dumps(row), flush=True)
        _add(options.out, options.part, rows)
    if options.part == "tune":
        for row in gpu_tuning.best_of(rows):
            print("best", json.dumps(row), flush=True)


def _add(path: Path, part: str, rows: list[dict[str, Any]]) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    versions = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}
    path.write_text(json.dumps(content | versions | {part: rows}, indent=1) + "\n")


def _compile(bench: Bench, share: int, shares: int) -> None:
    """Compile a share of all kernels that the other parts launch, into Triton's cache."""
    cases = [*NEARNESS[:1], Case(DEEP), *VARIED, *PRECISE[1:]]
    jobs: list[tuple[Case, Any]] = [(case, None) for case in cases]
    for case in (Case(), Case(DEEP)):
        plan = bench.default_plan(case)
        jobs.append((case, dataclasses.replace(plan, pdl=False)))
        jobs += [(case, candidate) for _, _, candidate in gpu_tuning.candidates(plan, case.hidden)]
    failures = 0
    for case, plan in jobs[share::shares]:
        try:
            bench.kernels(dataclasses.replace(case, count=1), plan)
        except Exception as error:  # noqa: BLE001 - a candidate that does not compile is told, and the others go on
            failures += 1
            print("does not compile:", case.name, plan, repr(error)[:200], flush=True)
    print(f"compiled share {share} of {shares}: {len(jobs[share::shares])} plans, {failures} failed", flush=True)


def _memcheck(bench: Bench) -> Iterator[dict[str, Any]]:
    """Take one step of each case, with and without PDL: each kernel in each shape is launched once."""
    many = bench.kernels(Case(count=2), for_many(bench.default_plan(Case())))
    losses = bench.steps(many, bench.orders(2, BATCH), 1)
    torch.cuda.synchronize()
    yield {"case": "larger tiles", "finite": bool(losses.isfinite().all())}
    for case in (Case(count=2), *VARIED[:2], *VARIED[8:11], *PRECISE[1:], Case(DEEP)):
        step = bench.kernels(case)
        losses = bench.steps(step, bench.orders(case.count, case.batch), 1, batch=case.batch)
        torch.cuda.synchronize()
        yield {"case": case.name, "activation": case.activation, "finite": bool(losses.isfinite().all())}


# -- correctness -----------------------------------------------------------------------------------------


def _check(bench: Bench) -> Iterator[dict[str, Any]]:
    for case in NEARNESS:
        yield _nearness(bench, case)
    for case in VARIED:
        yield _nearness(bench, case, steps=10)
    for case in (*PRECISE, Case(DEEP)):
        yield _same_bits(bench, case)


def _nearness(bench: Bench, case: Case, steps: int = CHECKED_STEPS) -> dict[str, Any]:
    """Return how far the parameters are from float64's after some steps, and how far torch's float32 is."""
    orders = bench.orders(case.count, steps * case.batch)
    exact, single, ours = bench.torch(case, torch.float64), bench.torch(case), bench.kernels(case)
    start = parameters_of(exact)
    losses = [bench.steps(step, orders, 5, case.optimizer.lr, case.batch) for step in (exact, single, ours)]
    right = parameters_of(exact)
    distances = {"torch": parameters_of(single) - right, "ours": parameters_of(ours) - right}
    whole = {name: float(value.norm() / right.norm()) for name, value in distances.items()}
    each = {name: value.norm(dim=1) / (right - start).norm(dim=1) for name, value in distances.items()}
    return {
        "case": f"{case.name} {case.activation} {case.optimizer.name} batch {case.batch}",
        "steps": steps,
        "ratio": whole["ours"] / whole["torch"],
        "ratio_ok": whole["ours"] <= 2 * whole["torch"] + 1e-8,
        "from_float64": whole,
        "update_median": {name: float(value.median()) for name, value in each.items()},
        "update_largest": {name: float(value.max()) for name, value in each.items()},
        "loss": {
            name: _apart(losses_of, losses[0]) for name, losses_of in zip(("torch", "ours"), losses[1:], strict=True)
        },
        "hits_differ": int((exact.hit_sums - ours.hit_sums).abs().sum()),
    }


def _apart(losses: Tensor, right: Tensor) -> float:
    return float((losses.double() - right).abs().max())


def _same_bits(bench: Bench, case: Case) -> dict[str, Any]:
    """Say whether steps have the same bits alone and beside others, by a graph, one by one, and without PDL."""
    orders = bench.orders(64, CHECKED_STEPS * BATCH)
    counts = (1, 4, 64) if case.hidden != DEEP else (1, 4)
    together = {count: dataclasses.replace(case, count=count) for count in counts}
    values = {count: _after(bench, bench.kernels(beside), orders[:count]) for count, beside in together.items()}
    plain = bench.kernels(case, dataclasses.replace(bench.default_plan(case), pdl=False))
    many = bench.kernels(together[4], for_many(bench.default_plan(case)))
    graphed = bench.kernels(case)
    bench.graphed(graphed, orders[:1].contiguous())
    again = bench.kernels(case)
    bench.steps(again, orders[:1], 1)
    alone = values[1][0]
    return {
        "case": case.name,
        "beside_others": {count: torch.equal(alone, value[0]) for count, value in values.items()},
        "all_of_4_in_64": torch.equal(values[4], values[64][:4]) if 64 in values else None,
        "without_pdl": torch.equal(alone, _after(bench, plain, orders[:1])[0]),
        "for_many": torch.equal(values[4], _after(bench, many, orders[:4])),
        "by_graph": torch.equal(alone, parameters_of(graphed)[0]),
        "one_by_one": torch.equal(alone, parameters_of(again)[0]),
    }


def _after(bench: Bench, step: CapturableStep, orders: Tensor) -> Tensor:
    bench.steps(step, orders, 20, LR)
    return parameters_of(step)


# -- times -----------------------------------------------------------------------------------------------


def _times(bench: Bench) -> Iterator[dict[str, Any]]:
    bench.graphed(bench.kernels(Case()), bench.orders(1, 100 * BATCH))
    for case, repeats in TIMED:
        yield {"case": case.name, "engine": "triton-step"} | bench.timed(lambda case=case: bench.kernels(case), repeats)  # type: ignore[misc]
    for case in MANY:
        plan = for_many(bench.default_plan(case))
        made = bench.timed(lambda case=case, plan=plan: bench.kernels(case, plan))  # type: ignore[misc]
        yield {"case": case.name, "engine": "triton-step, larger tiles"} | made
    for case, repeats in TIMED_IN_TORCH:
        yield {"case": case.name, "engine": "stacked-step"} | bench.timed(lambda case=case: bench.torch(case), repeats)  # type: ignore[misc]


def _table(path: Path) -> None:
    """Print what the parts have found, in short."""
    content = json.loads(path.read_text())
    print(f"{content['device']}, torch {content['torch']}, triton {content['triton']}; {CUDA}")
    for row in content.get("check", []):
        if "ratio" in row:
            print(f"{row['case']}: {row['ratio']:.2f} times torch's distance from float64", row["from_float64"])
        else:
            print(json.dumps(row))
    print("| case | engine | 15 epochs, s | us a step | set-up, s | accuracy, mean (least) | MiB |")
    for row in content.get("times", []):
        numbers = f"{row['s']:.3f} | {row['us_a_step']:.1f} | {row['setup_s']:.2f}"
        accuracy = f"{row['accuracy']:.4f} ({row['accuracy_least']:.4f})"
        print(f"| {row['case']} | {row['engine']} | {numbers} | {accuracy} | {row['mib']:.0f} |")


if __name__ == "__main__":
    main()
