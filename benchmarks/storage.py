"""What object storage costs a training: epochs of full MNIST with checkpoints in a folder and in S3, in turns.

Each worker has one thread, so that the S3 server, which is on the same machine, has a core of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clients import seconds_since_1970
from benchmarks.machines import Cluster
from benchmarks.object_storage import Storage
from benchmarks.report import print_table, write_json

BODY: dict[str, Any] = {"preset": "mnist_nn_xavier", "data": "mnist"}
EPOCHS = 15


def main() -> None:
    """Train in turns, print the table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    data = Path(os.environ.get("FANIN_DATA_DIR", "data"))
    with tempfile.TemporaryDirectory(prefix="fanin-storage-") as text:
        storage = Storage()
        clusters = {
            "a folder": Cluster(Path(text) / "folder", "sqlite", data, FANIN_SLOT_THREADS="1"),
            "object storage": Cluster(Path(text) / "s3", "sqlite", data, storage=storage, FANIN_SLOT_THREADS="1"),
        }
        try:
            for cluster in clusters.values():
                cluster.start_api()
                cluster.start_worker("trainer")
                seconds_an_epoch(cluster)
            times: dict[str, list[float]] = {name: [] for name in clusters}
            for _ in range(options.rounds):
                for name, cluster in clusters.items():
                    times[name].append(seconds_an_epoch(cluster))
        finally:
            for cluster in clusters.values():
                cluster.close()
            storage.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(b / a for a, b in zip(*times.values(), strict=True))
    rows = [[name, f"{medians[name]:.4f}", f"{min(values):.4f}"] for name, values in times.items()]
    print_table(["checkpoints in", "s an epoch, median", "best"], rows)
    print(f"ratio of pairs, median: {ratio:.3f}")
    results = {"rounds": options.rounds, "epochs": EPOCHS, "seconds_an_epoch": times, "ratio": round(ratio, 3)}
    write_json("storage", "make bench-storage", results | {"median": medians})


def seconds_an_epoch(cluster: Cluster) -> float:
    """Train a job, and return the time from its start to its end by epoch: commits included."""
    body = BODY | {"epochs": EPOCHS}
    job = cluster.client.post("/jobs", json=body, headers={"Prefer": "wait=60"}).raise_for_status().json()
    if job["state"] != "succeeded":
        raise RuntimeError(str(job))
    return (seconds_since_1970(job["ended_at"]) - seconds_since_1970(job["started_at"])) / EPOCHS


if __name__ == "__main__":
    main()
