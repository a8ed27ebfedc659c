from __future__ import annotations

import asyncio
import dataclasses
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import uvicorn
from sqlalchemy import Engine
from starlette.types import ASGIApp

from models.checkpoint import weights_sha256
from models.data.mnist import DataSet
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.training.train import Training
from service.app import create_application
from service.artifacts.folder import Folder
from service.artifacts.store import Artifacts
from service.http.server_protocol import protocol_within
from service.queue.engine import migrate_queue
from service.queue.submission import Queue
from service.settings import Settings
from service.store import workers
from service.store.engine import open_engine
from service.store.job_transitions import JobAction
from service.store.jobs import JobRequest, JobRow
from service.store.migration import migrate
from service.store.workers import NewBeat
from service.training.attempt_policy import make_attempt
from service.training.context import Device, FaultPoint, WorkerContext

TTL_S = 20.0
WORKER = "test:cpu-0"
SMALL = TrainSpec(architecture=Architecture(hidden=(8,)), batch_size=50, epochs=2, data="mnist_5k")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("migrated")
    settings = Settings(home=folder)
    engine = open_engine(settings.sqlalchemy_url)
    migrate(engine)
    migrate_queue(engine, settings.sqlalchemy_url)
    engine.dispose()
    return folder / "fanin.sqlite"


@pytest.fixture
def settings(migrated: Path, tmp_path: Path) -> Settings:
    """Settings of a service with a fresh database and without MNIST."""
    shutil.copy(migrated, tmp_path / "fanin.sqlite")
    return Settings(home=tmp_path, data_dir=tmp_path / "no-data", node="test")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings.sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture
def artifacts(settings: Settings) -> Artifacts:
    return Folder(settings.home / "artifacts")


class Bench:
    """A database, a folder and a worker's hands, without processes: submits jobs and runs attempts by call."""

    def __init__(self, engine: Engine, artifacts: Artifacts, data: DataSet) -> None:
        self.engine = engine
        self.artifacts = artifacts
        self.data = data
        self.queue = Queue(engine, max_queued=100, worker_ttl_s=TTL_S, jobs_per_run=8)
        self.device = Device(torch.device("cpu"), "test", torch.get_num_threads())

    def submit(self, spec: TrainSpec = SMALL) -> tuple[str, str]:
        new = self.queue.submit(JobRequest(spec)).new
        assert new is not None
        return new

    def attempt(self, run_id: str, worker: str = WORKER, **context: Any) -> None:
        self.beat(worker, run_id)
        usual = WorkerContext(self.engine, self.artifacts, worker, self.device, lambda _choice: self.data)
        make_attempt(dataclasses.replace(usual, **context), run_id)

    def beat(self, worker: str = WORKER, run_id: str | None = None) -> None:
        workers.beat(self.engine, NewBeat(worker, 1, "cpu", "test", 1, run_id))

    def apply_action(self, job_id: str, action: JobAction) -> JobRow:
        return self.queue.apply_action(job_id, action)

    def trained(self, spec: TrainSpec = SMALL) -> str:
        job_id, run_id = self.submit(spec)
        self.attempt(run_id)
        return job_id


@pytest.fixture
def bench(engine: Engine, artifacts: Artifacts, few: DataSet) -> Bench:
    return Bench(engine, artifacts, few)


class Killed(BaseException):
    """Stands for kill -9: no handler sees it."""


def dying_at(point: FaultPoint, call: int) -> Callable[[FaultPoint], None]:
    """Return a fault hook that dies the given time that its worker comes to a point."""
    calls = 0

    def hook(reached: FaultPoint) -> None:
        nonlocal calls
        calls += reached == point
        if reached == point and calls == call:
            raise Killed

    return hook


def die_at(bench: Bench, run_id: str, point: FaultPoint, call: int) -> None:
    """Make an attempt whose worker dies the given time that it comes to a point."""
    with pytest.raises(Killed):
        bench.attempt(run_id, fault_hook=dying_at(point, call))


def undisturbed(data: DataSet, spec: TrainSpec = SMALL) -> str:
    """Return the hash of the weights that a spec is trained to when nothing happens to it."""
    training = Training([spec], data, torch.device("cpu"))
    while not training.finished:
        training.run_epoch()
    return weights_sha256(training.snapshot(0).weights)


class QuickServer(uvicorn.Server):
    """A server that ends at once if it has nothing to do. uvicorn's sleeps twice for 100 ms: minutes over all tests."""

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks // 20):
            ticks += 1
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
            await server.wait_closed()
        await self.lifespan.shutdown()


class Api:
    """An API process's application, listening on a real port in a thread."""

    def __init__(self, settings: Settings, make: Callable[[Settings], ASGIApp] = create_application) -> None:
        protocol = protocol_within(settings.max_connections)
        config = uvicorn.Config(make(settings), port=0, http=protocol, log_config=None, timeout_graceful_shutdown=1)
        self._server = QuickServer(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> httpx.Client:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            assert self._thread.is_alive()
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        return self._client

    def __exit__(self, *_exception: object) -> None:
        self._client.close()
        deadline = time.monotonic() + 0.1
        while self._server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.001)
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    with Api(settings) as client:
        yield client


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """Check that an answer is a problem document and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:fanin:problem:{name}"
    assert document["status"] == status
    assert document["detail"] == document["error"]
    assert document["hint"]
    assert document["instance"] == response.request.url.path
    return document
