from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from filelock import FileLock

from service.commands.health import health_of
from service.commands.local_service import free_port
from service.settings import Settings
from service.store import workers
from service.store.workers import NewBeat
from service.training.worker_name import starting
from tests.service.conftest import Api, Bench


@contextmanager
def living(settings: Settings, name: str, instance: str) -> Iterator[None]:
    """Hold the lock of a worker, as its process does."""
    folder = settings.home / "slots"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        (folder / f"{name}.instance").write_text(instance)
        yield


def beat(bench: Bench, name: str, instance: str) -> None:
    new = NewBeat(name, 1, "cpu", "test", 1, None, instance=instance)
    workers.take_name(bench.engine, new, None)


def test_a_machine_is_well_if_every_worker_that_lives_here_has_a_heartbeat(bench: Bench, settings: Settings) -> None:
    beat(bench, "node-1a2b3c:cpu-0", "first")  # a replica, under a name with a suffix
    beat(bench, "of another machine:cpu-0", "other")
    with living(settings, "node-1a2b3c-cpu-0", "first"):
        assert health_of("worker", settings) == (True, "1 workers are alive.")
        with living(settings, "node-1a2b3c-cpu-1", "second"):
            assert health_of("worker", settings) == (False, "No heartbeat of node-1a2b3c-cpu-1 for 20 s.")
    assert health_of("worker", settings) == (False, "No worker process of this machine is alive.")


def test_a_worker_that_waits_before_it_has_its_name_is_well(settings: Settings) -> None:
    with starting(settings.home / "slots", "cpu-0"):
        assert health_of("worker", settings) == (True, "A worker waits for its database or its files.")
    assert not health_of("worker", settings).is_well


def test_a_database_without_tables_is_not_well(settings: Settings, tmp_path: Path) -> None:
    empty = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path}/empty.sqlite"})
    with living(settings, "node-cpu-0", "first"):
        assert not health_of("worker", empty).is_well


def test_a_worker_that_waits_for_its_database_is_well(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": f"postgresql://fanin@127.0.0.1:{free_port()}/fanin"})
    with living(settings, "node-cpu-0", "first"):
        assert health_of("worker", away) == (True, "The database is away; the workers wait for it.")


def test_an_api_is_well_if_it_is_ready(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with Api(settings) as api:
        port = httpx.URL(api.base_url).port
        assert health_of("api", settings.model_copy(update={"port": port})) == (True, "The API is ready.")
    silent = settings.model_copy(update={"port": free_port()})
    is_well, text = health_of("api", silent)
    assert not is_well
    assert text.startswith("The API does not answer")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1"])
def test_an_api_on_all_addresses_is_asked_on_loopback(host: str, settings: Settings) -> None:
    everywhere = settings.model_copy(update={"host": host, "port": free_port()})
    assert "does not answer" in health_of("api", everywhere).text
