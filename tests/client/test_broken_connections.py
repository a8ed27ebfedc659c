"""The client over a network that cuts connections at random points."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fanin
import httpx
import pytest
from fanin import AsyncClient, Client

from service.settings import Settings
from tests.client.conftest import CuttingProxy, randomly
from tests.service.conftest import Api, Bench

Cutting = Callable[[Callable[[], int | None]], CuttingProxy]
SMALL = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 1}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between attempts are milliseconds."""
    for name in ("FIRST_PAUSE_S", "MAX_PAUSE_S"):
        monkeypatch.setattr(f"fanin.retries.{name}", 0.002)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_queued": 1000})


def test_a_hundred_submissions_that_are_cut_at_random_points_make_a_hundred_jobs(
    cutting: Cutting, fanin: Client
) -> None:
    proxy = cutting(randomly(1, 5000, share=1.0))  # a request has about 400 bytes, its response 3,000
    with Client(f"http://127.0.0.1:{proxy.port}", max_retries=40) as client:
        created = {client.jobs.create(spec=SMALL, seed=number).id for number in range(100)}
    assert proxy.cuts >= 100
    there = {job.id for job in fanin.jobs.list()}
    assert there == created
    assert len(there) == 100


def test_an_asynchronous_client_makes_as_many(cutting: Cutting, fanin: Client) -> None:
    proxy = cutting(randomly(1, 7000, share=1.0, seed=8))

    async def create_all() -> set[str]:
        async with AsyncClient(f"http://127.0.0.1:{proxy.port}", max_retries=40) as client:
            jobs = await asyncio.gather(*(client.jobs.create(spec=SMALL, seed=number) for number in range(20)))
            return {job.id for job in jobs}

    assert asyncio.run(create_all()) == {job.id for job in fanin.jobs.list()}
    assert proxy.cuts >= 10


def test_a_stream_of_events_that_is_cut_has_each_event_once_and_in_order(
    cutting: Cutting, fanin: Client, bench: Bench
) -> None:
    job_id = bench.trained()
    whole = [(event.id, event.type) for event in fanin.jobs.events(job_id)]
    assert whole[-1][1] == "job.succeeded"
    proxy = cutting(randomly(200, 1500, share=1.0))
    with Client(f"http://127.0.0.1:{proxy.port}") as client:
        assert [(event.id, event.type) for event in client.jobs.events(job_id)] == whole
        assert proxy.cuts >= 3
        middle = whole[len(whole) // 2][0]
        rest = [event.id for event in client.jobs.events(job_id, after=middle)]
    assert rest == [number for number, _ in whole if number > middle]


def test_a_stream_gives_up_when_the_service_has_been_silent_for_long(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanin._sync.streams.PATIENCE_S", 0.05)
    with Client("http://127.0.0.1:9") as client, pytest.raises(fanin.ConnectionFailed, match="does not answer"):
        list(client.jobs.events("job_1"))


def test_a_download_that_is_cut_goes_on_where_it_was(
    cutting: Cutting, fanin: Client, bench: Bench, tmp_path: Path
) -> None:
    job_id = bench.trained()
    whole = fanin.models.weights(job_id)
    budget = [2000, 9000, 700, None]  # the third ends within the headers
    asked: list[int | None] = []

    def next_cut() -> int | None:
        asked.append(budget[min(len(asked), 3)])
        return asked[-1]

    proxy = cutting(next_cut)
    with Client(f"http://127.0.0.1:{proxy.port}") as client:
        (tmp_path / "models").mkdir()
        file = client.models.download(job_id, tmp_path / "models" / "model.safetensors")
    assert file.read_bytes() == whole
    assert proxy.cuts == 3
    assert list(file.parent.iterdir()) == [file]


def test_two_downloads_to_one_file_leave_one_whole_file(fanin: Client, bench: Bench, tmp_path: Path) -> None:
    job_id = bench.trained()
    whole = fanin.models.weights(job_id)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / ".w.npz.part").symlink_to(tmp_path / "victim")
    with ThreadPoolExecutor(4) as threads:
        ended = [threads.submit(fanin.models.download, job_id, folder / "w.safetensors") for _ in range(8)]
        assert {one.result() for one in ended} == {folder / "w.safetensors"}
    assert (folder / "w.safetensors").read_bytes() == whole
    assert not (tmp_path / "victim").exists()
    assert stat.S_IMODE((folder / "w.safetensors").stat().st_mode) & 0o400
    assert sorted(path.name for path in folder.iterdir()) == [".w.npz.part", "w.safetensors"]
    with pytest.raises(IsADirectoryError, match="name a file"):
        fanin.models.download(job_id, folder, "npz")


def test_a_wait_keeps_its_time_over_a_service_that_hangs() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with Client(f"http://127.0.0.1:{silent.getsockname()[1]}") as client:
        begun = time.monotonic()
        with pytest.raises(fanin.WaitTimeout):
            client.jobs._job({"id": "job_1", "state": "running"}).wait(1)
        assert time.monotonic() - begun < 20, "and not the minute of a request, three times"
    silent.close()


def test_a_download_of_other_bytes_than_announced_leaves_no_file(tmp_path: Path) -> None:
    wrong = f"sha-256=:{hashlib.sha256(b'other').hexdigest()}:"
    answer = httpx.Response(200, stream=httpx.ByteStream(b"bytes"), headers={"Repr-Digest": wrong, "ETag": '"x"'})
    http = httpx.Client(transport=httpx.MockTransport(lambda _: answer))
    with Client("http://fanin", http_client=http) as client, pytest.raises(fanin.DownloadDamaged):
        client.models.download("job_1", tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


def test_waiting_goes_on_through_a_restart_of_the_service(bench: Bench, settings: Settings) -> None:
    job_id, run_id = bench.submit()
    with Api(settings) as api:
        port = api.base_url.port
        with Client(str(api.base_url)) as client:
            job = client.jobs.get(job_id)
    assert port is not None
    looks: list[str] = []

    def look(now: object) -> None:
        looks.append(str(now))
        if len(looks) == 1:
            bench.attempt(run_id)

    with Client(f"http://127.0.0.1:{port}", max_retries=0) as away:
        waiting = away.jobs._job(job.to_dict())
        with pytest.raises(fanin.WaitTimeout, match=f"{job_id} has not ended after 0.3 s"):
            waiting.wait(0.3)
    with Api(settings) as api, Client(str(api.base_url)) as client:
        ended = client.jobs.get(job_id).wait(30, progress=look)
    assert (ended.state, ended.has_ended, len(ended.metrics)) == ("succeeded", True, 2)
    assert len(looks) >= 2
