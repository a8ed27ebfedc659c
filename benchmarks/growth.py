"""How the cost of an epoch grows with width, depth, batch size, models and threads: a table, JSON and a plot.

One thing is varied at a time from 784-256-256-10 with batch 100, one model and one thread, on both engines.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from benchmarks.clients import data_folder
from benchmarks.report import FOLDER, print_table, write_json
from models.data.mnist import DataSet, Digits, read_mnist
from models.init.by_fans import HeNormal
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.training.engine import STACKED, best_engine
from models.training.train import Training

CPU = torch.device("cpu")
IMAGES = 12_000
"""The first images of the training set, so that slow points do not take minutes; seconds are scaled to 60,000."""
VARIED: dict[str, tuple[int, ...]] = {
    "width": (32, 64, 128, 256, 512, 1024, 2048),
    "depth": (1, 2, 4, 8, 16),
    "batch": (10, 30, 100, 300, 1000, 3000),
    "models": (1, 2, 4, 8),
    "threads": (1, 2),
}
BASE = {"width": 256, "depth": 2, "batch": 100, "models": 1, "threads": 1}


def main() -> None:
    """Measure, print the table, write JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    whole = read_mnist(data_folder())
    train = Digits(whole.train.images[:IMAGES], whole.train.labels[:IMAGES])
    data = DataSet("mnist", train, whole.test, whole.evaluated_on, whole.sha256, f"{IMAGES} images")
    epoch_s: dict[str, dict[str, dict[str, float]]] = {}
    for what, values in VARIED.items():
        for value in values:
            row = _measured(BASE | {what: value}, data, options.rounds)
            epoch_s.setdefault(what, {})[str(value)] = row
            print(f"{what} {value}: {row}", flush=True)
    rows = [
        [what, value, f"{row['kernel']:.3f}", f"{row['stacked']:.3f}", f"{row['stacked'] / row['kernel']:.2f}"]
        for what, of_values in epoch_s.items()
        for value, row in of_values.items()
    ]
    print_table(["varied", "value", "kernel, s an epoch", "step in torch", "ratio"], rows)
    write_json("growth", "make bench-growth", {"base": BASE, "rounds": options.rounds, "epoch_s": epoch_s})
    _draw(epoch_s)


def _measured(choice: dict[str, int], data: DataSet, rounds: int) -> dict[str, float]:
    torch.set_num_threads(choice["threads"])
    architecture = Architecture(hidden=(choice["width"],) * choice["depth"])
    spec = TrainSpec(
        architecture=architecture, init=HeNormal(), batch_size=choice["batch"], epochs=rounds + 1, data="mnist"
    )
    specs = [spec.model_copy(update={"seed": seed}) for seed in range(choice["models"])]
    trainings = {
        name: Training(specs, data, CPU, engine=engine)
        for name, engine in (("kernel", best_engine(spec, CPU)), ("stacked", STACKED))
    }
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds + 1):
        for name, training in trainings.items():
            started = time.perf_counter()
            training.run_epoch()
            seconds[name].append((time.perf_counter() - started) * 60_000 / IMAGES)
    return {name: round(statistics.median(of_name[1:]), 4) for name, of_name in seconds.items()}


def _draw(epoch_s: dict[str, dict[str, dict[str, float]]]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fanin"
    mpl.rcParams["svg.fonttype"] = "none"  # text as text: a tenth of the bytes of outlines
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(epoch_s), figsize=(15, 3.4), layout="constrained")
    for axis, (what, of_values) in zip(axes, epoch_s.items(), strict=True):
        for name, style in (("kernel", "o-"), ("stacked", "s--")):
            label = {"kernel": "kernel", "stacked": "step in torch"}[name]
            axis.plot(
                [int(value) for value in of_values], [row[name] for row in of_values.values()], style, label=label
            )
        axis.set(xscale="log", yscale="log", xlabel=what, ylabel="seconds an epoch of 60,000 images")
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend()
    details: dict[str, Any] = {"metadata": {"Date": None}}
    figure.savefig(FOLDER / "growth.svg", **details)


if __name__ == "__main__":
    main()
