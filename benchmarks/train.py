"""How fast the course's networks are trained: by the notebook's loop, torch, scikit-learn, JAX, and Fanin.

Contenders (`benchmarks.contenders`) run in turn, each in a fresh process, so that changes in a shared machine's speed
affect all alike. Medians over rounds and epochs are compared within the run. Then follow ten models on all cores,
Fanin's library compared with its service, and the accuracy of each engine after 15 epochs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.clients import finished_job, seconds_between, warm_service
from benchmarks.contenders import CONTENDERS
from benchmarks.report import print_table, write_json

WHO = {
    "notebook": "the notebook's loop: torchvision, DataLoader, Adam",
    "memory": "torch, images in memory, fused Adam",
    "sklearn": "scikit-learn's MLPClassifier",
    "jax": "JAX: jit, scan over an epoch, optax",
    "floor": "dense products of these shapes and nothing else",
    "stacked": "Fanin, the step in torch",
    "kernel": "Fanin, the kernel",
}
NETS = {"mnist_nn_xavier": 3, "mnist_nn_deep": 2}
"""The presets and how many epochs each is trained in a round; the first is not counted."""
MODELS = 10
EPOCHS_IN_WHOLE = 15
SEEDS = 3


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contests = {}
    for preset, epochs in NETS.items():
        for threads in (1, 2):
            contests[f"{preset}, {threads} thread{'s' * (threads > 1)}"] = _contest(
                preset, threads, epochs, options.rounds
            )
    side_by_side = _ten_models(contests["mnist_nn_xavier, 2 threads"]["jax"]["epoch_s"], options.rounds)
    service = _service_beside_library(options.rounds)
    accuracy = _accuracy()
    results = {"rounds": options.rounds, "epochs": contests, "ten_models": side_by_side}
    write_json("train", "make bench", results | {"service": service, "accuracy": accuracy})


def _contest(preset: str, threads: int, epochs: int, rounds: int) -> dict[str, dict[str, Any]]:
    names = list(CONTENDERS)
    runs_by_name: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            runs_by_name[name].append(_run(name, preset=preset, threads=threads, epochs=epochs))
    summary = {}
    for name, runs in runs_by_name.items():
        seconds = [row for run in runs for row in run["epoch_s"][1:]]
        summary[name] = {
            "epoch_s": round(statistics.median(seconds), 4),
            "best_s": round(min(seconds), 4),
            "first_epoch_s": round(statistics.median(run["epoch_s"][0] for run in runs), 3),
            "accuracy": round(statistics.mean(run["accuracy"][0] for run in runs), 4),
        }
    for row in summary.values():
        for peer in ("jax", "notebook", "floor"):
            row[f"over_{peer}"] = round(row["epoch_s"] / summary[peer]["epoch_s"], 3)
    print(f"\n{preset}, threads: {threads}, rounds: {rounds}, epochs: {epochs}, of which the first is not counted")
    header = ["contender", "s an epoch", "best", "over JAX", "over the notebook", "over dense products", "accuracy"]
    columns = ("epoch_s", "best_s", "over_jax", "over_notebook", "over_floor", "accuracy")
    print_table(header, [[WHO[name], *(f"{row[column]:.3f}" for column in columns)] for name, row in summary.items()])
    return summary


def _ten_models(jax_s: float, rounds: int) -> dict[str, Any]:
    """Train ten models on two cores, one thread each, side by side; return the seconds a model and epoch."""
    epochs, half = 3, MODELS // 2
    seconds = []
    for _ in range(rounds):
        running = [_start("kernel", threads=1, core=core, epochs=epochs, models=half) for core in (0, 1)]
        runs = [_answer(process) for process in running]
        seconds.append(max(sum(run["epoch_s"]) for run in runs) / (MODELS * epochs))
    times = {"model_epoch_s": round(statistics.median(seconds), 4)}
    times["over_jax_single"] = round(times["model_epoch_s"] / jax_s, 3)
    print(
        f"\nTen models on two cores: {times['model_epoch_s']:.3f} s a model and epoch, {times['over_jax_single']} JAX's"
    )
    return times


def _service_beside_library(rounds: int) -> dict[str, Any]:
    """Train 15 epochs by the library and through the service, from the job's acceptance to its end."""
    library, service = [], []
    for _ in range(rounds):
        library.append(sum(_run("kernel", threads=2, epochs=EPOCHS_IN_WHOLE)["epoch_s"]))
        with warm_service() as client:
            job = finished_job(client, {"preset": "mnist_nn_xavier", "epochs": EPOCHS_IN_WHOLE})
        service.append(seconds_between(job["created_at"], job["ended_at"]))
    times = {"library_s": round(statistics.median(library), 3), "service_s": round(statistics.median(service), 3)}
    times |= {"best_library_s": round(min(library), 3), "best_service_s": round(min(service), 3)}
    times["over_library"] = round(times["service_s"] / times["library_s"], 3)
    times["best_over_library"] = round(times["best_service_s"] / times["best_library_s"], 3)
    print(f"\n15 epochs: library {times['library_s']:.2f} s, through the service {times['service_s']:.2f} s")
    return times


def _accuracy() -> dict[str, float]:
    """Return the mean test accuracy of three seeds after 15 epochs by each engine and by autograd."""
    means = {}
    for name in ("memory", "stacked", "kernel"):
        runs = _run(name, threads=2, epochs=EPOCHS_IN_WHOLE, models=SEEDS)
        means[name] = round(statistics.mean(runs["accuracy"]), 4)
    print_table(["15 epochs, three seeds", "test accuracy"], [[WHO[name], f"{acc:.4f}"] for name, acc in means.items()])
    return means


def _run(name: str, *, threads: int, **options: Any) -> dict[str, Any]:
    pinned = {"core": 1} if threads == 1 else {}
    return _answer(_start(name, threads=threads, **pinned, **options))


def _start(name: str, **options: Any) -> subprocess.Popen[str]:
    arguments = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "benchmarks.contenders", name, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"A contender failed: {process.args!r}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
