"""What must hold after a trial, whatever happened: no job lost, ended twice or changed, no epoch committed twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from benchmarks.clients import seconds_since_1970
from benchmarks.machines import Cluster

MUST_BE_ZERO = ("lost", "ended_twice", "epochs_twice", "wrong_hash")
LOG_LINE = re.compile(
    r"worker-\S+\[(\d+)\] service\.training\.checkpoint_writer: (job_\w+): attempt (\d+) committed epoch (\d+)"
)
TRACED_AT_LEAST = 0.9
"""The share of all epochs of which a log must tell: a worker that is killed right after a commit tells of none."""


class Judged(NamedTuple):
    """The counts of what must hold, and when each job's attempts began, in seconds since 1970."""

    counts: dict[str, int]
    started: dict[str, list[float]]


def undisturbed(cluster: Cluster, body: Mapping[str, Any], seeds: int) -> dict[int, str]:
    """Train a body at each seed, and return the `weights_sha256` that it ends with when nothing happens."""
    digests = {}
    for seed in range(seeds):
        job = cluster.client.post("/jobs", json={**body, "seed": seed}, headers={"Prefer": "wait=60"}).json()
        digests[seed] = cluster.client.get(f"/models/{job['id']}").raise_for_status().json()["weights_sha256"]
    return digests


def judged(
    cluster: Cluster, body: Mapping[str, Any], submitted: Mapping[str, int], expected: Mapping[int, str]
) -> Judged:
    """Judge jobs of a body by their seeds. Raises `RuntimeError` if the logs tell of too few epochs to judge."""
    client, epochs = cluster.client, list(range(1, body["epochs"] + 1))
    counts = dict.fromkeys(("lost", "ended_twice", "epochs_traced", "epochs_twice", "wrong_hash"), 0)
    started: dict[str, list[float]] = {}
    for job_id, seed in submitted.items():
        job, events = client.get(f"/jobs/{job_id}").json(), _all_events(client, job_id)
        if job.get("state") != "succeeded" or [entry["epoch"] for entry in job["metrics"]] != epochs:
            counts["lost"] += 1
            print(json.dumps(job), flush=True)
            continue
        counts["ended_twice"] += sum(event["type"] == "job.succeeded" for event in events) != 1
        counts["wrong_hash"] += client.get(f"/models/{job_id}").json()["weights_sha256"] != expected[seed]
        started[job_id] = [seconds_since_1970(entry["at"]) for entry in events if entry["type"] == "job.running"]
    traced = _trace(cluster.folder)
    counts["epochs_traced"] = sum(traced.values())
    counts["epochs_twice"] = sum(count > 1 for count in traced.values())
    if counts["epochs_traced"] < TRACED_AT_LEAST * len(epochs) * len(submitted):
        raise RuntimeError(f"the logs tell of {counts['epochs_traced']} epochs of {len(submitted)} jobs: too few")
    return Judged(counts, started)


def _all_events(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["id"] if events else 0
        page = client.get(f"/jobs/{job_id}/events", params={"limit": 100, "after": after}).json()
        events += page["data"]
        if not page["has_more"]:
            return events


def _trace(folder: Path) -> Counter[tuple[str, int]]:
    """Return how often each epoch of each job was committed, according to the workers' append-only logs."""
    lines = [line for log in folder.glob("*/output.log") for line in log.read_text(errors="replace").splitlines()]
    matches = [LOG_LINE.search(line) for line in lines]
    return Counter((match[2], int(match[4])) for match in matches if match)
