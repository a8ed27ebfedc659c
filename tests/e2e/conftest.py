"""The real service as processes, on a free port and in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.machines import children_of, wait_until
from service.commands.local_service import LocalService, environment_without_settings

ROOT = Path(__file__).parents[2]

LONG = bool(os.environ.get("FANIN_TEST_LONG"))
"""`make test-long` runs the slowest tests too, and those of the queue on both databases."""
long = pytest.mark.skipif(not LONG, reason="takes long: run `make test-long`")

SHORT: dict[str, Any] = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 30, "batch_size": 20}
"""A job of a few seconds, long enough to be disturbed."""


def job_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Return a job as the API shows it."""
    found: dict[str, Any] = client.get(f"/jobs/{job_id}").json()
    return found


def events_of(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """Return the first hundred events of a job."""
    found: list[dict[str, Any]] = client.get(f"/jobs/{job_id}/events", params={"limit": 100}).json()["data"]
    return found


def weights_of(client: httpx.Client, job_id: str) -> str:
    """Return the hash of the weights that a job has come to."""
    found: str = client.get(f"/models/{job_id}").json()["weights_sha256"]
    return found


def wait_for_state(client: httpx.Client, job_id: str, *states: str, limit_s: float = 90.0) -> dict[str, Any]:
    """Wait until a job is in one of some states."""

    def reached() -> dict[str, Any] | None:
        job = job_of(client, job_id)
        return job if job["state"] in states else None

    found: dict[str, Any] = wait_until(reached, limit_s, f"{job_id} to be {states}")
    return found


def submit_and_reach(client: httpx.Client, epoch: int, **overrides: Any) -> str:
    """Submit a job of `SHORT` and wait until an epoch of it is committed."""
    job_id: str = client.post("/jobs", json=SHORT | overrides).raise_for_status().json()["id"]
    wait_until(lambda: job_of(client, job_id)["epoch"] >= epoch, what=f"epoch {epoch}")
    return job_id


def check_ended_once(client: httpx.Client, job_id: str, undisturbed: str) -> dict[str, Any]:
    """Check that a job of `SHORT` ended once, with every epoch once and the weights of an undisturbed one."""
    job = wait_for_state(client, job_id, "succeeded", "failed")
    assert job["state"] == "succeeded", job["error"]
    assert [one["epoch"] for one in job["metrics"]] == list(range(1, SHORT["epochs"] + 1))
    assert [event["type"] for event in events_of(client, job_id)].count("job.succeeded") == 1
    assert weights_of(client, job_id) == undisturbed
    return job


AS_AN_EQUAL = {"FANIN_CPU_NICENESS": "0"}
"""Settings of services under test: at niceness 10 a worker gets a twentieth of a core beside four busy processes."""


class Service(LocalService):
    """A service on fresh folders, with a client and a look at its processes."""

    def __init__(self, home: Path, data_dir: Path, **environment: str) -> None:
        own = {"FANIN_HOME": str(home), "FANIN_DATA_DIR": str(data_dir), "FANIN_NODE": "test"} | AS_AN_EQUAL
        super().__init__(environment_without_settings() | own | environment, home / "serve.out")
        self.home = home
        self.database_url = environment.get("FANIN_DATABASE_URL")
        self.client = httpx.Client(base_url=self.base_url, timeout=30)

    def children(self, role: str) -> list[int]:
        """Return the process ids of living children with a role: api or worker."""
        assert self.process is not None
        return children_of(self.process.pid, role)

    def output(self) -> str:
        """Return what the processes have written."""
        return self.log.read_text(errors="replace")

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API shows it."""
        return job_of(self.client, job_id)

    def wait_for_state(self, job_id: str, *states: str, limit_s: float = 90.0) -> dict[str, Any]:
        """Wait until a job is in one of some states."""
        return wait_for_state(self.client, job_id, *states, limit_s=limit_s)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.client.close()

    def close(self) -> None:
        """Stop what still runs."""
        self.__exit__()


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Make services that are stopped in the end."""
    made: list[Service] = []

    def make(**environment: str) -> Service:
        service = Service(tmp_path, tmp_path / "no-data", **environment)
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that do not break it."""
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, folder / "no-data") as service:
        yield service
