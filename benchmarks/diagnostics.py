"""What an epoch costs besides its steps: the record of its layers, and the checkpoint.

Both notebooks' networks on the full MNIST. Costs are measured inside one run, epoch by epoch, since they are hundredths
of an epoch and a shared machine's speed changes by more than that from run to run. A checkpoint here is the copy of
weights and optimizer, which the training makes, and beside the next epoch their hashes and both files written with
fsync: what it costs is the copy and how much longer the epochs are that it is written beside, than those between them.
The transaction is measured with the service (`make bench`). The process has a worker's environment.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from benchmarks.clients import data_folder
from benchmarks.report import print_table, write_json
from models.checkpoint import CheckpointMetadata, encode, encode_resume, weights_sha256
from models.data import read_mnist
from models.spec import PRESETS, TrainSpec
from models.train import Snapshot, Training
from service.artifacts import Artifacts
from service.worker_environment import prepare_interpreter, worker_environment

LARGEST_SHARES = {"record": 0.05, "checkpoint": 0.03}


def main() -> None:
    """Measure, print the table, write JSON; end with status 1 if a cost is above its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="epochs with a checkpoint beside them, and without")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if missing := worker_environment():  # what it sets is read when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.diagnostics", *sys.argv[1:]], os.environ | missing)  # noqa: S606
    prepare_interpreter()
    torch.set_num_threads(options.threads)
    data, results = read_mnist(data_folder()), {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as beside:
        artifacts = Artifacts(Path(folder))
        for name, preset in PRESETS.items():
            spec = preset.model_copy(update={"epochs": 2 * options.pairs + 1, "data": "mnist"})
            training = Training([spec], data, torch.device("cpu"))
            start_s = _timed(partial(training.diagnose, 0))
            seconds: dict[str, list[float]] = {"epoch": [], "record": [], "write": [], "checkpoint": []}
            training.run_epoch()
            for _ in range(options.pairs):
                seconds["epoch"].append(_timed(training.run_epoch))
                seconds["record"].append(_timed(partial(training.diagnose, 0)))
                started = time.perf_counter()
                snapshot = training.snapshot(0)
                writing = beside.submit(_timed, partial(_write_checkpoint, snapshot, spec, artifacts))
                training.run_epoch()
                seconds["checkpoint"].append(time.perf_counter() - started - seconds["epoch"][-1])
                seconds["write"].append(writing.result())
            middle = {what: statistics.median(values) for what, values in seconds.items()}
            results[name] = {
                "epoch_s": round(middle["epoch"], 3),
                "record_ms": round(1e3 * middle["record"], 1),
                "record_percent": round(100 * middle["record"] / middle["epoch"], 2),
                "thorough_record_ms": round(1e3 * start_s, 1),
                "write_ms": round(1e3 * middle["write"], 1),
                "checkpoint_ms": round(1e3 * middle["checkpoint"], 1),
                "checkpoint_percent": round(100 * middle["checkpoint"] / middle["epoch"], 2),
            }
    header = ["network", "epoch, s", "record, ms", "%", "with singular values, ms"]
    header += ["writing a checkpoint, ms", "what it holds the training up, ms", "%"]
    print_table(header, [[name, *(str(value) for value in result.values())] for name, result in results.items()])
    about = {"threads": options.threads, "pairs": options.pairs}
    write_json("diagnostics", "make bench-diagnostics", about | {"networks": results})
    if any(one[f"{what}_percent"] > 100 * bar for one in results.values() for what, bar in LARGEST_SHARES.items()):
        raise SystemExit(1)


def _write_checkpoint(snapshot: Snapshot, spec: TrainSpec, artifacts: Artifacts) -> None:
    digest = weights_sha256(snapshot.weights)
    metadata = CheckpointMetadata(
        spec=spec, epoch=snapshot.epoch, final=False, data="mnist", data_sha256="", weights_sha256=digest
    )
    stem = f"jobs/{spec.architecture.parameter_count}/{snapshot.epoch:06d}"
    artifacts.write_all(
        {
            f"{stem}.weights.safetensors": encode(snapshot.weights, metadata),
            f"{stem}.resume.safetensors": encode_resume(snapshot.optimizer, snapshot.epoch),
        }
    )


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
