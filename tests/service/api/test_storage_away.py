"""An API whose object storage accepts connections and never answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

from service.api.job_files import delete_files
from service.artifacts.bucket import Bucket
from service.artifacts.layout import job_folder
from service.artifacts.opening import BRIEF
from service.errors import Unavailable
from service.settings import Settings
from tests.service.conftest import Api, Bench, problem

SOON_S = BRIEF.request_s + BRIEF.repeat_s + 3.0


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name, value in {
            "ENDPOINT_URL": endpoint,
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "b",
            "REGION": "x",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield


@pytest.fixture
def lonely(bench: Bench, settings: Settings, black_hole: None) -> Iterator[httpx.Client]:
    """An API with a job whose files are in a storage that is away."""
    bench.trained()
    with Api(settings.model_copy(update={"artifacts_url": "s3://bucket/x"})) as client:
        yield client


def test_all_requests_that_need_a_file_are_refused_soon_and_the_others_are_answered(lonely: httpx.Client) -> None:
    (job,) = lonely.get("/jobs").json()["data"]
    address, begun = str(lonely.base_url), time.monotonic()

    def status(path: str) -> int:
        return httpx.request(
            "POST" if "predict" in path else "GET", address + path, content=bytes(784), timeout=60
        ).status_code

    paths = ["/predict", f"/models/{job['id']}/weights", f"/jobs/{job['id']}/logs"] * 15
    with ThreadPoolExecutor(len(paths)) as pool:
        statuses = pool.map(status, paths)
        quick = time.monotonic()
        assert lonely.get("/jobs").status_code == 200
        assert time.monotonic() - quick < SOON_S
        assert set(statuses) == {503}
    assert time.monotonic() - begun < 2 * SOON_S
    again = time.monotonic()
    problem(lonely.get(f"/models/{job['id']}/weights"), 503, "unavailable")
    assert time.monotonic() - again < SOON_S


def test_the_api_is_ready_without_its_storage_and_says_so(lonely: httpx.Client) -> None:
    ready = lonely.get("/readyz", timeout=60)
    assert (ready.status_code, ready.json()["artifacts"], ready.json()["disk_free_bytes"]) == (200, "away", None)


def test_the_files_of_many_jobs_are_not_waited_for_one_by_one(black_hole: None) -> None:
    begun = time.monotonic()
    delete_files(Bucket("s3://bucket/x", *BRIEF), [f"job_{number}" for number in range(100)])
    assert time.monotonic() - begun < 2 * SOON_S


def test_the_files_of_many_jobs_are_deleted_at_once(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    together, deleted = Barrier(8), []

    def delete(path: str) -> None:
        together.wait(30)  # breaks if they are deleted one after another
        deleted.append(path)

    monkeypatch.setattr(bench.artifacts, "delete_below", delete)
    monkeypatch.setattr(bench.artifacts, "is_remote", True)
    delete_files(bench.artifacts, [f"job_{number}" for number in range(8)])
    assert sorted(deleted) == [job_folder(f"job_{number}") for number in range(8)]


def test_a_brief_store_is_one_that_gives_up(black_hole: None) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        Bucket("s3://bucket/x", *BRIEF).check()
    assert time.monotonic() - begun < SOON_S
