"""Measure how pictures of digits are read: right, wrong, and wrong without a warning; and how long it takes.

Twelve kinds of pictures (`benchmarks.digit_pictures`) and seven of drawings (`benchmarks.digit_drawings`) are made of
MNIST's test digits, only of digits that the model reads right when they are clean. They pass through the code that a
request with `?fit=true` passes through.
"""

from __future__ import annotations

import argparse
import importlib
import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.digit_drawings import DRAWINGS
from benchmarks.digit_pictures import KINDS, PHOTO, Picture, clean, clean_pen, noisy, paper, photo
from benchmarks.report import print_table, write_json
from models.checkpoint import Checkpoint, CheckpointMetadata
from models.data.mnist import DataSet, read_mnist
from models.errors import InvalidImage
from models.inference.input_checks import InputWarning, input_warnings
from models.inference.predictor import Predictor
from models.spec import PRESETS
from models.training.train import Training
from service.inference.image_decoding import read_unwrapped, unwrap
from service.inference.query import PredictQuery
from service.inference.written_answers import warnings_of

FIT = PredictQuery(fit=True)
LARGE = (3000, 4000)
REPEATS = 20
SHARES = ("drawings_right", "right_mean", "right_worst", "wrong_silent", "right_warned", "clean_drawings_warned")
LOAD_DIGITS_SIDE, LOAD_DIGITS_GROUND = 112, 160


class Read(NamedTuple):
    """What was read of a picture: the digit (None if it was refused), and the warnings."""

    label: int | None
    warnings: tuple[InputWarning, ...]


def main() -> None:
    """Run all measurements, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the full MNIST")
    parser.add_argument("--pictures", type=int, default=100, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    data = read_mnist(options.data_dir)
    predictor = trained(data)
    chosen = right_when_clean(data, predictor, options.pictures, options.seed)
    kinds, drawings = (
        {
            name: judged(make, data, predictor, chosen, (options.seed, number))
            for number, (name, make) in enumerate(makers.items())
        }
        for makers in (KINDS, DRAWINGS)
    )
    rights, silents, alarms = ([found[key] for found in kinds.values()] for key in ("right", "silent", "alarmed"))
    results: dict[str, Any] = {
        "pictures": options.pictures,
        "seed": options.seed,
        "kinds": kinds,
        "drawings": drawings,
        "drawings_right": round(statistics.fmean(found["right"] for found in drawings.values()), 4),
        "right_mean": round(statistics.fmean(rights), 4),
        "right_worst": min(rights),
        "wrong_silent": round(statistics.fmean(silents), 4),
        "right_warned": round(statistics.fmean(alarms), 4),
        "mnist": of_mnist(data, predictor),
        "clean_drawings_warned": clean_warned(data, predictor, options.seed),
        "load_digits": of_load_digits(predictor),
        "time_ms": times(data),
    }
    for judgements in (kinds, drawings):
        print_kinds(judgements)
    for name in (
        "drawings_right",
        "right_mean",
        "right_worst",
        "wrong_silent",
        "right_warned",
        "clean_drawings_warned",
    ):
        print(f"{name}: {results[name]}")
    for name in ("mnist", "load_digits", "time_ms"):
        print(f"{name}: {results[name]}")
    write_json("reading", "make bench-reading", results)


def print_kinds(judgements: dict[str, dict[str, Any]]) -> None:
    """Print a table of kinds."""
    heads = ["kind", "right", "wrong without a warning", "warned though right"]
    scores = ("right", "silent", "alarmed")
    print_table(heads, [[name, *(f"{found[key]:.2f}" for key in scores)] for name, found in judgements.items()])


def trained(data: DataSet) -> Predictor:
    """Return the model of the first notebook."""
    spec = PRESETS["mnist_nn_xavier"]
    training = Training([spec], data, torch.device("cpu"))
    while not training.finished:
        training.run_epoch()
    metadata = CheckpointMetadata(
        spec=spec, epoch=spec.epochs, final=True, data=data.name, data_sha256=data.sha256, weights_sha256=""
    )
    return Predictor.of(Checkpoint(training.snapshot(0).weights, metadata))


def read_picture(picture: Picture, predictor: Predictor) -> Read:
    """Read a picture as `POST /predict?fit=true` does."""
    try:
        read = read_unwrapped(unwrap(picture.content, picture.media_type, FIT))
    except InvalidImage:
        return Read(None, ())
    probabilities = predictor.predict(read.images)
    (warnings,) = warnings_of(read, probabilities, input_warnings(read.images))
    return Read(int(probabilities[0].argmax()), warnings)


def right_when_clean(data: DataSet, predictor: Predictor, count: int, seed: int) -> list[int]:
    """Return the indices of test digits that are read right as they are, as a clean drawing, and drawn with a pen."""
    chosen: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(data.test.images)):
        image, label = data.test.images[index], data.test.labels[index]
        if predictor.predict(image[None])[0].argmax() != label:
            continue
        drawn = [
            read_picture(make(image, np.random.default_rng([seed, index])), predictor) for make in (clean, clean_pen)
        ]
        if all(read.label == label for read in drawn):
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen


def judged(
    make: Callable[[NDArray[np.uint8], np.random.Generator], Picture],
    data: DataSet,
    predictor: Predictor,
    chosen: Sequence[int],
    seed: tuple[int, int],
) -> dict[str, Any]:
    """Return the shares of pictures of a kind that are read right, wrong without a warning, and right with one."""
    right = silent = alarmed = 0
    for index in chosen:
        random = np.random.default_rng([seed[0], index, seed[1]])
        read = read_picture(make(data.test.images[index], random), predictor)
        is_right = read.label == data.test.labels[index]
        right += is_right
        silent += not is_right and read.label is not None and not read.warnings
        alarmed += is_right and bool(read.warnings)
    return {
        name: round(count / len(chosen), 4)
        for name, count in (("right", right), ("silent", silent), ("alarmed", alarmed))
    }


def of_mnist(data: DataSet, predictor: Predictor) -> dict[str, float]:
    """Return the accuracy on MNIST's test digits as they are and fitted, and how many right ones are warned of."""
    images, labels = data.test.images, data.test.labels
    plain = predictor.predict(images).argmax(axis=1)
    fitted = [read_picture(Picture(image.tobytes(), "application/octet-stream"), predictor) for image in images]
    rights = [read.label == label for read, label in zip(fitted, labels, strict=True)]
    return {
        "accuracy": float((plain == labels).mean()),
        "accuracy_fitted": round(statistics.fmean(rights), 4),
        "warned_plain": round(statistics.fmean(bool(found) for found in input_warnings(images)), 4),
        "warned_fitted_though_right": round(
            statistics.fmean(right and bool(read.warnings) for read, right in zip(fitted, rights, strict=True)), 4
        ),
    }


def clean_warned(data: DataSet, predictor: Predictor, seed: int, count: int = 1000) -> float:
    """Return the share of clean drawings that are read right and warned of all the same."""
    warned = 0
    for index in range(count):
        read = read_picture(clean(data.test.images[index], np.random.default_rng([seed, index, 99])), predictor)
        warned += read.label == data.test.labels[index] and bool(read.warnings)
    return warned / count


def of_load_digits(predictor: Predictor) -> dict[str, Any] | None:
    """Return how the 1,797 digits of scikit-learn's `load_digits`, another hand's, are read; None without it."""
    try:
        bunch = importlib.import_module("sklearn.datasets").load_digits()
    except ImportError:
        return None
    margin = (LOAD_DIGITS_GROUND - LOAD_DIGITS_SIDE) // 2
    right = silent = 0
    for image, label in zip(bunch.images, bunch.target, strict=True):
        levels = (image / 16 * 255).astype(np.float32)
        large = cv2.resize(levels, (LOAD_DIGITS_SIDE, LOAD_DIGITS_SIDE), interpolation=cv2.INTER_CUBIC)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(np.pad(large, margin), 0, 255).astype(np.uint8)).save(buffer, "PNG")
        read = read_picture(Picture(buffer.getvalue(), "image/png"), predictor)
        right += read.label == label
        silent += read.label != label and not read.warnings
    return {
        "right": round(int(right) / len(bunch.target), 4),
        "wrong_silent": round(int(silent) / len(bunch.target), 4),
    }


def times(data: DataSet) -> dict[str, float]:
    """Return the median milliseconds from a JPEG's bytes to the fitted image, of 12 megapixels and of 600x800."""
    random = np.random.default_rng(1)
    levels = noisy(paper(photo(data.test.images[0], 1.0, random), random), 3, random)
    large = cv2.resize(levels, LARGE[::-1], interpolation=cv2.INTER_CUBIC)
    return {
        "12 megapixels": _median_ms(_jpeg(large)),
        f"{PHOTO[0]}x{PHOTO[1]}": _median_ms(_jpeg(levels)),
    }


def _jpeg(levels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _median_ms(content: bytes) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        read_unwrapped(unwrap(content, "image/jpeg", FIT))
        taken.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(taken), 2)


if __name__ == "__main__":
    main()
