"""A service for measurements: a fresh home, a warm worker, and jobs that run to their end."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from models.data.mnist import is_here
from service.commands.local_service import LocalService, environment_without_settings

JOB_LIMIT_S = 600.0
LOOK_INTERVAL_S = 0.5  # a query costs the API some milliseconds, on cores that training needs


def data_folder() -> Path:
    """Return the folder of the full MNIST; a measurement on other data would not be comparable."""
    folder = Path(os.environ.get("FANIN_DATA_DIR", "data")).absolute()
    if not is_here(folder):
        raise SystemExit("This needs the full MNIST: run `make data`, or set FANIN_DATA_DIR.")
    return folder


@contextmanager
def warm_service() -> Iterator[httpx.Client]:
    """Run a service with a fresh home until the block ends; its worker waits for a job when the block begins."""
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "serve.out"
        environment = environment_without_settings() | {"FANIN_HOME": home, "FANIN_DATA_DIR": str(data_folder())}
        with LocalService(environment, log) as service, httpx.Client(base_url=service.base_url, timeout=30) as client:
            deadline = time.monotonic() + JOB_LIMIT_S
            while "is ready on" not in log.read_text():
                if time.monotonic() > deadline:
                    raise SystemExit(log.read_text())
                time.sleep(LOOK_INTERVAL_S)
            yield client


def finished_job(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Submit a job and return it once it has succeeded."""
    job_id = client.post("/jobs", json=body).raise_for_status().json()["id"]
    deadline = time.monotonic() + JOB_LIMIT_S
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        if job["state"] == "succeeded":
            return job
        if job["state"] == "failed" or time.monotonic() > deadline:
            raise SystemExit(f"{job_id}: {job['state']}: {job['error']}")
        time.sleep(LOOK_INTERVAL_S)


def seconds_between(first: str, last: str) -> float:
    """Return the seconds between two times as the API writes them."""
    return seconds_since_1970(last) - seconds_since_1970(first)


def seconds_since_1970(text: str) -> float:
    """Return a time as the API writes it, in seconds since 1970 UTC."""
    return dt.datetime.fromisoformat(text).timestamp()
