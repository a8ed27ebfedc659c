"""How the cost of an epoch grows with width, depth, batch size, models and threads: a table, JSON and a plot.

One thing is varied at a time from 784-256-256-10 with batch 100, one model and one thread, on both engines of a device:
the one with kernels of Fanin's own, and the step in torch.
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

IMAGES = {"cpu": 12_000, "cuda": 60_000}
"""The first images of the training set, so that slow points do not take minutes; seconds are scaled to 60,000."""
VARIED: dict[str, dict[str, tuple[int, ...]]] = {
    "cpu": {
        "width": (32, 64, 128, 256, 512, 1024, 2048),
        "depth": (1, 2, 4, 8, 16),
        "batch": (10, 30, 100, 300, 1000, 3000),
        "models": (1, 2, 4, 8),
        "threads": (1, 2),
    },
    "cuda": {
        "width": (64, 256, 512, 1024, 2048),
        "depth": (1, 2, 4, 8, 16, 32),
        "batch": (10, 100, 300, 1000, 3000),
        "models": (1, 4, 16, 64, 128),
    },
}
BASE = {"width": 256, "depth": 2, "batch": 100, "models": 1, "threads": 1}


def main() -> None:
    """Measure, print the table, write JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=list(VARIED), default="cpu")
    options = parser.parse_args()
    whole, images, device = read_mnist(data_folder()), IMAGES[options.device], torch.device(options.device)
    train = Digits(whole.train.images[:images], whole.train.labels[:images])
    data = DataSet("mnist", train, whole.test, whole.evaluated_on, whole.sha256, f"{images} images")
    epoch_s: dict[str, dict[str, dict[str, float]]] = {}
    for what, values in VARIED[options.device].items():
        for value in values:
            row = _measured(BASE | {what: value}, data, options.rounds, device)
            epoch_s.setdefault(what, {})[str(value)] = row
            print(f"{what} {value}: {row}", flush=True)
    rows = [
        [what, value, f"{row['kernel']:.3f}", f"{row['stacked']:.3f}", f"{row['stacked'] / row['kernel']:.2f}"]
        for what, of_values in epoch_s.items()
        for value, row in of_values.items()
    ]
    print_table(["varied", "value", "kernel, s an epoch", "step in torch", "ratio"], rows)
    name, command = "growth", "make bench-growth"
    of_machine: dict[str, Any] = {}
    if device.type == "cuda":
        name, command = "gpu_growth", "python3 -m benchmarks.growth --device cuda"
        of_machine = {"gpu": torch.cuda.get_device_name(), "torch_there": torch.__version__}
    write_json(name, command, of_machine | {"base": BASE, "rounds": options.rounds, "epoch_s": epoch_s})
    _draw(epoch_s, f"{name}.svg")


def _measured(choice: dict[str, int], data: DataSet, rounds: int, device: torch.device) -> dict[str, float]:
    if device.type == "cpu":
        torch.set_num_threads(choice["threads"])
    architecture = Architecture(hidden=(choice["width"],) * choice["depth"])
    spec = TrainSpec(
        architecture=architecture, init=HeNormal(), batch_size=choice["batch"], epochs=rounds + 1, data="mnist"
    )
    specs = [spec.model_copy(update={"seed": seed}) for seed in range(choice["models"])]
    trainings = {
        name: Training(specs, data, device, engine=engine)
        for name, engine in (("kernel", best_engine(spec, device)), ("stacked", STACKED))
    }
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds + 1):
        for name, training in trainings.items():
            started = time.perf_counter()
            training.run_epoch()
            seconds[name].append((time.perf_counter() - started) * 60_000 / len(data.train.labels))
    return {name: round(statistics.median(of_name[1:]), 4) for name, of_name in seconds.items()}


def _draw(epoch_s: dict[str, dict[str, dict[str, float]]], file: str) -> None:
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
    figure.savefig(FOLDER / file, **details)


if __name__ == "__main__":
    main()
