"""What looking at the layers costs: seconds of training with a record an epoch, and of the records themselves.

Both notebooks' networks on the full MNIST. The cost is measured inside one run, epoch by epoch, since a record takes a
hundredth of an epoch and a shared machine's speed changes by more than that from run to run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.clients import data_folder
from benchmarks.report import print_table, write_json
from models.data import read_mnist
from models.spec import PRESETS
from models.train import Training

LARGEST_SHARE = 0.05


def main() -> None:
    """Measure, print the table, write JSON; end with status 1 if records cost more than 5 % of training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data, results = read_mnist(data_folder()), {}
    for name, preset in PRESETS.items():
        spec = preset.model_copy(update={"epochs": options.epochs + 1, "data": "mnist"})
        training = Training([spec], data, torch.device("cpu"))
        started = time.perf_counter()
        training.diagnose(0)
        start_s = time.perf_counter() - started
        epochs, records = [], []
        for _ in range(options.epochs):
            epochs.append(_timed(training.run_epoch))
            records.append(_timed(partial(training.diagnose, 0)))
        share = statistics.median(records) / statistics.median(epochs)
        results[name] = {
            "epoch_s": round(statistics.median(epochs), 3),
            "record_ms": round(1e3 * statistics.median(records), 1),
            "share_percent": round(100 * share, 2),
            "thorough_record_ms": round(1e3 * start_s, 1),
        }
    print_table(
        ["network", "epoch, s", "record, ms", "% of the epoch", "with singular values (start, end), ms"],
        [[name, *(str(value) for value in result.values())] for name, result in results.items()],
    )
    about = {"threads": options.threads, "epochs": options.epochs}
    write_json("diagnostics", "make bench-diagnostics", about | {"networks": results})
    if any(result["share_percent"] > 100 * LARGEST_SHARE for result in results.values()):
        raise SystemExit(1)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
