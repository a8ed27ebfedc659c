"""The real service as processes, on a free port and in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.local_service import LocalService, environment_without_settings

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], Any], limit_s: float = 60.0, what: str = "") -> Any:
    """Wait until `condition` is true and return what it returned; fail after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"gave up after {limit_s:.0f} s waiting for {what or condition}"
        time.sleep(0.05)


class Service(LocalService):
    """A service on fresh folders, with a client and a look at its processes."""

    def __init__(self, home: Path, data_dir: Path, **environment: str) -> None:
        own = {"FANIN_HOME": str(home), "FANIN_DATA_DIR": str(data_dir), "FANIN_NODE": "test"}
        super().__init__(environment_without_settings() | own | environment, home / "serve.out")
        self.home = home
        self.database_url = environment.get("FANIN_DATABASE_URL")
        self.client = httpx.Client(base_url=self.base_url, timeout=30)

    def children(self, role: str) -> list[int]:
        """Return the process ids of living children with a role: api or worker."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = []
        for text in path.read_text().split():
            try:
                command = Path(f"/proc/{text}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if role.encode() in command:
                found.append(int(text))
        return found

    def output(self) -> str:
        """Return what the processes have written."""
        return self.log.read_text(errors="replace")

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API shows it."""
        found: dict[str, Any] = self.client.get(f"/jobs/{job_id}").json()
        return found

    def wait_for_state(self, job_id: str, *states: str, limit_s: float = 90.0) -> dict[str, Any]:
        """Wait until a job is in one of some states."""

        def reached() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["state"] in states else None

        found: dict[str, Any] = wait_until(reached, limit_s, f"{job_id} to be {states}")
        return found

    def close(self) -> None:
        """Stop what still runs."""
        self.__exit__()
        self.client.close()


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
    service = Service(folder, folder / "no-data")
    service.start()
    yield service
    service.close()
