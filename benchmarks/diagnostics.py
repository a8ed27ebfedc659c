"""What an epoch costs besides its steps: the layer record and the checkpoint.

Measures both notebooks' networks on the full MNIST. Costs are measured epoch by epoch inside one run: they are
hundredths of an epoch, and a shared machine's speed changes by more than that between runs. A checkpoint here has two
parts: the training thread copies weights and optimizer; then, concurrently with the next epoch, both are hashed and
written to two files with fsync. Its cost is the copy, plus the time by which that epoch is longer than one without a
checkpoint. The transaction is measured with the service (`make bench`). The process has a worker's environment.
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
from models.data.mnist import read_mnist
from models.spec import PRESETS, TrainSpec
from models.training.snapshot import Snapshot
from models.training.train import Training
from service.artifacts.folder import Folder
from service.artifacts.store import Artifacts
from service.processes.worker_environment import prepare_interpreter, worker_environment

MAX_SHARES = {"record": 0.05, "checkpoint": 0.03}


def main() -> None:
    """Measure, print the table, write JSON; exit with status 1 if a cost is above its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="pairs of epochs: without and with a checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if missing := worker_environment(Path("var")):  # read only when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.diagnostics", *sys.argv[1:]], os.environ | missing)  # noqa: S606
    prepare_interpreter()
    torch.set_num_threads(options.threads)
    data, results = read_mnist(data_folder()), {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        artifacts = Folder(Path(folder))
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
                writing = pool.submit(_timed, partial(_write_checkpoint, snapshot, spec, artifacts))
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
    if any(costs[f"{what}_percent"] > 100 * bar for costs in results.values() for what, bar in MAX_SHARES.items()):
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
