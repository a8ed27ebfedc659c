"""Predictions in one process on one thread: the compiled forward pass compared with NumPy's, microseconds per call.

Takes the weights file of a checkpoint; prints JSON by the number of images per call. `benchmarks.predict` runs it with
BLAS on one thread, as in an API process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import timeit
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clients import data_folder
from models.checkpoint import decode
from models.data.mnist import read_mnist
from models.inference.predictor import Predictor

COUNTS = (1, 16, 64, 250)
ROUNDS = 7
IMAGES_A_ROUND = 4000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    checkpoint = decode(parser.parse_args().weights.read_bytes())
    images = read_mnist(data_folder()).test.images
    predictors = {
        "numpy": Predictor(checkpoint.weights, checkpoint.metadata, compiled=False),
        "compiled": Predictor(checkpoint.weights, checkpoint.metadata),
    }
    medians: dict[str, Any] = {}
    for count in COUNTS:
        repeats = max(3, IMAGES_A_ROUND // count)
        times: dict[str, list[float]] = {name: [] for name in predictors}
        for _ in range(ROUNDS):
            for name, predictor in predictors.items():
                seconds = timeit.timeit(partial(predictor.predict, images[:count]), number=repeats)
                times[name].append(seconds / repeats * 1e6)
        medians[str(count)] = {name: round(statistics.median(values), 1) for name, values in times.items()}
    print(json.dumps(medians))


if __name__ == "__main__":
    main()
