"""How long an epoch of a restricted Boltzmann machine takes: scikit-learn's BernoulliRBM and Fanin's.

Both train on the same MNIST images as floats in [0, 1], with the same sizes, batch and learning rate. They alternate,
each in a fresh process. scikit-learn trains by persistent contrastive divergence without momentum or weight decay,
which is a little less work per step. Each also reports its reconstruction error (one Gibbs step on 1,000 images), which
shows that it learns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from benchmarks.clients import data_folder
from benchmarks.report import print_table, write_json

CONTENDERS = {"sklearn": "scikit-learn BernoulliRBM", "fanin": "Fanin, CD-1"}
HIDDEN, BATCH, EPOCHS = 500, 100, 2
ARCHITECTURE = f"784-{HIDDEN}"
LR = 0.05


def main() -> None:
    """Run the comparison, or one contender of it (`--one`, in a process of its own)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", choices=CONTENDERS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps((_sklearn if options.one == "sklearn" else _fanin)(options.threads)))
        return
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        names = list(CONTENDERS)
        for name in names[number % 2 :] + names[: number % 2]:
            arguments = ["-m", "benchmarks.rbm", "--one", name, "--threads", str(options.threads)]
            done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}: {name}: {results[name][-1]}", flush=True)
    medians = {name: statistics.median(run["epoch_s"] for run in runs) for name, runs in results.items()}
    errors = {name: statistics.mean(run["error"] for run in runs) for name, runs in results.items()}
    print_table(
        ["contender", "s an epoch, median", "ratio", "reconstruction error"],
        [
            [text, f"{medians[name]:.2f}", f"{medians[name] / medians['sklearn']:.3f}", f"{errors[name]:.1f}"]
            for name, text in CONTENDERS.items()
        ],
    )
    summary = {
        name: {
            "median_epoch_s": round(medians[name], 3),
            "ratio": round(medians[name] / medians["sklearn"], 3),
            "all_epoch_s": [round(run["epoch_s"], 3) for run in results[name]],
            "reconstruction_error": round(errors[name], 1),
        }
        for name in CONTENDERS
    }
    about = {"machine_sizes": ARCHITECTURE, "batch": BATCH, "threads": options.threads, "rounds": options.rounds}
    write_json("rbm", "make bench-rbm", about | {"contenders": summary})


def _sklearn(threads: int) -> dict[str, float]:
    import numpy as np
    from sklearn.neural_network import BernoulliRBM
    from threadpoolctl import threadpool_limits

    from models.data.mnist import read_mnist

    images = read_mnist(data_folder()).train.images.reshape(-1, 784).astype(np.float32) / 255
    with threadpool_limits(threads):
        machine = BernoulliRBM(n_components=HIDDEN, learning_rate=LR, batch_size=BATCH, n_iter=EPOCHS, random_state=0)
        started = time.perf_counter()
        machine.fit(images)
        seconds = time.perf_counter() - started
    hidden = 1 / (1 + np.exp(-(images[:1000] @ machine.components_.T + machine.intercept_hidden_)))
    rebuilt = 1 / (1 + np.exp(-(hidden @ machine.components_ + machine.intercept_visible_)))
    return {"epoch_s": seconds / EPOCHS, "error": float(((rebuilt - images[:1000]) ** 2).sum(1).mean())}


def _fanin(threads: int) -> dict[str, float]:
    import torch

    from models.data.mnist import read_mnist
    from models.init.pretrained import Dbn
    from models.pretrain.dbn import Pretraining

    torch.set_num_threads(threads)
    images = torch.tensor(read_mnist(data_folder()).train.images.reshape(-1, 784))
    settings = Dbn(rbm_epochs=EPOCHS, batch=BATCH, lr=LR)
    pretraining = Pretraining(settings.settings, [784, HIDDEN], 0, images, torch.device("cpu"))
    started = time.perf_counter()
    while not pretraining.finished:
        pretraining.run_epoch()
    seconds = time.perf_counter() - started
    machine, some = pretraining.machines[0], images[:1000].float() / 255
    rebuilt = machine.visible_probabilities(machine.hidden_probabilities(some))
    return {"epoch_s": seconds / EPOCHS, "error": float((rebuilt - some).square().sum(1).mean())}


if __name__ == "__main__":
    main()
