"""How long 15 epochs of the preset take: a plain torch loop, Fanin's library, Fanin through the service.

The contenders take turns, each in a fresh process, and medians, bests and their ratios within one run are compared: a
shared machine's speed changes from minute to minute, and its best times are those that neighbours disturbed least.
Each contender also says its test accuracy, so that a fast one is seen to learn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.clients import data_folder, finished_job, seconds_between, warm_service
from benchmarks.report import print_table, write_json
from models.spec import PRESETS

PRESET = "mnist_nn_xavier"
CONTENDERS = {
    "plain": "torch loop in memory, autograd, fused Adam",
    "library": "Fanin, the library alone",
    "service": "Fanin through the service: queue, checkpoints, evaluation",
}


def main() -> None:
    """Run the comparison, or one contender of it (`--one`, in a process of its own)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", choices=["plain", "library"])
    options = parser.parse_args()
    if options.one:
        run = _plain if options.one == "plain" else _library
        print(json.dumps(run(options.epochs, options.threads)))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        names = list(CONTENDERS)
        for name in names[number % 3 :] + names[: number % 3]:
            one = _service(options.epochs) if name == "service" else _in_own_process(name, options)
            results[name].append(one)
            print(f"round {number + 1}: {name}: {one['seconds']:.2f} s, accuracy {one['accuracy']:.4f}", flush=True)
    _report(results, options)


def _report(results: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    medians = {name: statistics.median(one["seconds"] for one in runs) for name, runs in results.items()}
    bests = {name: min(one["seconds"] for one in runs) for name, runs in results.items()}
    rows = [
        [
            CONTENDERS[name],
            f"{medians[name]:.2f}",
            f"{medians[name] / medians['plain']:.3f}",
            f"{bests[name]:.2f}",
            f"{bests[name] / bests['plain']:.3f}",
            f"{statistics.mean(one['accuracy'] for one in runs):.4f}",
        ]
        for name, runs in results.items()
    ]
    header = ["contender", f"s for {options.epochs} epochs, median", "ratio", "best", "ratio", "test accuracy"]
    print_table(header, rows)
    summary = {
        name: {
            "median_s": round(medians[name], 3),
            "median_ratio_to_plain": round(medians[name] / medians["plain"], 4),
            "best_s": round(bests[name], 3),
            "best_ratio_to_plain": round(bests[name] / bests["plain"], 4),
            "all_s": [round(one["seconds"], 3) for one in runs],
            "accuracy": round(statistics.mean(one["accuracy"] for one in runs), 4),
        }
        for name, runs in results.items()
    }
    write_json("train", "make bench", {"threads": options.threads, "rounds": options.rounds, "contenders": summary})


def _in_own_process(name: str, options: argparse.Namespace) -> dict[str, float]:
    arguments = ["--one", name, "--epochs", str(options.epochs), "--threads", str(options.threads)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", *arguments], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _plain(epochs: int, threads: int) -> dict[str, float]:
    """Train as a careful user of torch would: all data in memory as float32, fused Adam, no DataLoader."""
    import torch
    from torch import nn

    from models.data import read_mnist
    from models.init import initialize
    from models.mlp import Network

    torch.set_num_threads(threads)
    data, spec = read_mnist(data_folder()), PRESETS[PRESET]
    images = torch.tensor(data.train.images.reshape(-1, 784)).float() / 255
    labels = torch.tensor(data.train.labels, dtype=torch.int64)
    start = Network.empty(spec.architecture)
    initialize(start, spec.init, spec.seed)
    modules: list[nn.Module] = []
    for layer in start.layers:
        linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        linear.load_state_dict({"weight": layer.weight, "bias": layer.bias})
        modules += [linear, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=spec.optimizer.lr, fused=True)
    torch.manual_seed(spec.seed)
    started = time.perf_counter()
    for _ in range(epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(len(labels)), spec.batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        answers = network(torch.tensor(data.test.images.reshape(-1, 784)).float() / 255).argmax(1)
    return {"seconds": seconds, "accuracy": float((answers.numpy() == data.test.labels).mean())}


def _library(epochs: int, threads: int) -> dict[str, float]:
    import torch

    from models.data import read_mnist
    from models.evaluate import evaluate
    from models.train import Training

    torch.set_num_threads(threads)
    data = read_mnist(data_folder())
    started = time.perf_counter()
    training = Training([PRESETS[PRESET].model_copy(update={"epochs": epochs})], data, torch.device("cpu"))
    while not training.finished:
        training.run_epoch()
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "accuracy": evaluate(training.network(0), data).accuracy}


def _service(epochs: int) -> dict[str, float]:
    """Measure from the acceptance of the job to its end, by the database's clock."""
    with warm_service() as client:
        job: dict[str, Any] = finished_job(client, {"preset": PRESET, "epochs": epochs})
        evaluation = client.get(f"/models/{job['id']}/evaluation").raise_for_status().json()
    return {"seconds": seconds_between(job["created_at"], job["ended_at"]), "accuracy": evaluation["accuracy"]}


if __name__ == "__main__":
    main()
