"""How long a training takes with one and with two threads, alone and beside busy processes.

Each training is a process of its own, with the niceness of a worker. One epoch after another is measured while none,
one, or two other processes keep a core busy. The number of threads and of neighbours changes after every training, so
that the load of a shared machine reaches all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.clients import data_folder
from benchmarks.report import print_table, write_json
from models.data.mnist import read_mnist
from models.spec import PRESETS

PRESET = "mnist_nn_xavier"
NICENESS = 10
NEIGHBOURS = (0, 1, 2)
THREADS = (1, 2)
LARGEST_RATIO = 1.15
"""Of two threads to one beside the same neighbours; the first epoch included."""


def main() -> None:
    """Measure, print the table, write JSON; end with status 1 if a ratio is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--niceness", type=int, default=NICENESS, help="of the training; a neighbour's is 0")
    parser.add_argument("--train", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train is not None:
        _train(options.train, options.epochs, options.niceness)
        return
    data_folder()  # ends with an explanation if there is none
    epochs: dict[tuple[int, int], list[list[float]]] = {(n, t): [] for n in NEIGHBOURS for t in THREADS}
    for _ in range(options.rounds):
        for (neighbours, threads), runs in epochs.items():
            runs.append(_epochs_beside(neighbours, threads, options.epochs, options.niceness))
    results = [_summary(neighbours, epochs) for neighbours in NEIGHBOURS]
    header = ["neighbours", "threads", "first epoch, s", "later epochs, s", "first over one thread", "later over one"]
    columns = ("neighbours", "threads", "first_s", "later_s", "first_ratio", "later_ratio")
    print_table(header, [[str(row[column]) for column in columns] for rows in results for row in rows])
    about = {"rounds": options.rounds, "epochs": options.epochs, "niceness": options.niceness}
    write_json("neighbour", "make bench-neighbour", about | {"trainings": [row for rows in results for row in rows]})
    if any(row[name] > LARGEST_RATIO for rows in results for row in rows for name in ("first_ratio", "later_ratio")):
        raise SystemExit(1)


def _summary(neighbours: int, epochs: dict[tuple[int, int], list[list[float]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for threads in THREADS:
        runs = epochs[neighbours, threads]
        first = statistics.median(run[0] for run in runs)
        later = statistics.median(seconds for run in runs for seconds in run[1:])
        rows.append(
            {"neighbours": neighbours, "threads": threads, "first_s": round(first, 3), "later_s": round(later, 3)}
        )
        for name in ("first", "later"):
            rows[-1][f"{name}_ratio"] = round(rows[-1][f"{name}_s"] / rows[0][f"{name}_s"], 3)
    return rows


def _epochs_beside(neighbours: int, threads: int, epochs: int, niceness: int) -> list[float]:
    """Return the seconds of each epoch of one training, which waits until the neighbours are busy."""
    options = {"--train": threads, "--epochs": epochs, "--niceness": niceness}
    command = [sys.executable, "-m", "benchmarks.neighbour", *(str(word) for pair in options.items() for word in pair)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdin is not None
        assert training.stdout is not None
        training.stdout.readline()
        with _busy(neighbours):
            output, _ = training.communicate("go\n")
    if training.returncode != 0:
        raise SystemExit("A training failed.")
    seconds: list[float] = json.loads(output)
    return seconds


@contextmanager
def _busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.2 if count else 0)  # an interpreter needs a moment to start
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _train(threads: int, epochs: int, niceness: int) -> None:
    """Train when a line comes in, and print the seconds of each epoch as JSON."""
    os.nice(niceness)  # before torch starts threads, which keep the niceness that they start with
    import torch

    from models.training.train import Training

    torch.set_num_threads(threads)
    spec = PRESETS[PRESET].model_copy(update={"epochs": epochs})
    training = Training([spec], read_mnist(data_folder()), torch.device("cpu"))
    print("ready", flush=True)
    sys.stdin.readline()
    seconds = []
    while not training.finished:
        started = time.perf_counter()
        training.run_epoch()
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
