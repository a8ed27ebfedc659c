"""Training times on a GPU: capture, one model, 64 models, each precision, and the uncaptured step for comparison.

Also the times of what the service does with a model besides training: layer records, copies, evaluation.

Needs torch with CUDA and the full MNIST, and nothing of the service; `benchmarks/gpu.sh` runs it after the tests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from models.data.mnist import DataSet, read_mnist
from models.evaluation.evaluate import evaluate
from models.spec import PRESETS, TrainSpec
from models.training import epoch_loops
from models.training.train import Training

CUDA = torch.device("cuda")
EPOCHS = 15
MODELS = 64
BARS_S = {"capture": 3.0, "one model": 0.7, "64 models": 5.0}


def main() -> None:
    """Measure, print a table as the last lines, write JSON to the file `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This needs a GPU and torch with CUDA.")
    data = read_mnist(options.data_dir)
    spec = PRESETS["mnist_nn_xavier"]
    results: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "bars_s": BARS_S}
    _measured("warm-up, thrown away", [spec.model_copy(update={"epochs": 1})], data)
    results["beside_ms"] = {name: _beside(preset, data) for name, preset in PRESETS.items()}
    rows = []
    for row in _rows(spec, data):
        rows.append(row)
        options.out.write_text(json.dumps(results | {"rows": rows}, indent=2) + "\n")
    print(f"{results['device']}, torch {results['torch']}")
    for name, times in results["beside_ms"].items():
        print(f"{name}, ms: {', '.join(f'{what} {value}' for what, value in times.items())}")
    print("| what | set-up and capture, s | epochs, s | accuracy, mean | memory, MiB |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        numbers = f"{row['setup_s']:.3f} | {row['epochs_s']:.3f} | {row['accuracy']:.4f} | {row['mib']:.0f}"
        print(f"| {row['what']} | {numbers} |")


def _rows(spec: TrainSpec, data: DataSet) -> Iterator[dict[str, Any]]:
    yield _measured("one model", [spec], data)
    for steps in (1, 5, 20, 100):
        yield _measured(f"one model, {steps} steps a graph", [spec], data, steps_per_graph=steps)
    yield _measured("deep net, one model", [PRESETS["mnist_nn_deep"]], data)
    for precision in ("float32", "tf32", "bf16"):
        specs = [spec.model_copy(update={"seed": seed, "precision": precision}) for seed in range(MODELS)]
        yield _measured(f"{MODELS} models, {precision}", specs, data)
    yield _measured("one model, uncaptured, 2 epochs", [spec.model_copy(update={"epochs": 2})], data, captured=False)


def _beside(spec: TrainSpec, data: DataSet) -> dict[str, float]:
    """Return the times of what the service does with one model besides training, in ms: medians of a few calls."""
    training = Training([spec.model_copy(update={"epochs": EPOCHS})], data, CUDA)
    thorough_ms = _median_ms(lambda: training.diagnose(0))
    training.run_epoch()
    return {
        "record with singular values": thorough_ms,
        "record": _median_ms(lambda: training.diagnose(0)),
        "copy of weights and optimizer": _median_ms(lambda: training.snapshot(0)),
        "evaluation": _median_ms(lambda: training.evaluate(0)),
    }


def _median_ms(call: Callable[[], object], times: int = 5) -> float:
    call()
    seconds = []
    for _ in range(times):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return round(1e3 * statistics.median(seconds), 2)


def _measured(
    what: str, specs: list[TrainSpec], data: DataSet, *, steps_per_graph: int | None = None, captured: bool = True
) -> dict[str, Any]:
    usual, capture = epoch_loops.STEPS_PER_GRAPH, epoch_loops.DeviceLoop._capture  # noqa: SLF001
    epoch_loops.STEPS_PER_GRAPH = steps_per_graph or usual
    if not captured:
        epoch_loops.DeviceLoop._capture = lambda _self: None  # type: ignore[method-assign,assignment,return-value]  # noqa: SLF001
    try:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        training = Training(specs, data, CUDA)
        torch.cuda.synchronize()
        ready = time.perf_counter()
        while not training.finished:
            training.run_epoch()
        torch.cuda.synchronize()
        ended = time.perf_counter()
    finally:
        epoch_loops.STEPS_PER_GRAPH = usual
        epoch_loops.DeviceLoop._capture = capture  # type: ignore[method-assign]  # noqa: SLF001
    accuracies = [evaluate(training.network(index), data, CUDA).accuracy for index in training.members]
    row = {
        "what": what,
        "models": len(specs),
        "setup_s": ready - started,
        "epochs_s": ended - ready,
        "accuracy": sum(accuracies) / len(accuracies),
        "mib": torch.cuda.max_memory_allocated() / 2**20,
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
