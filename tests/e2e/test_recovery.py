"""What dies comes back, and what was in progress goes on: real processes, real signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from benchmarks.machines import wait_until
from models.checkpoint import weights_sha256
from models.data.mnist import DataSet
from models.spec import resolve_spec
from models.training.train import Training
from service.commands.local_service import ServiceFailed, environment_without_settings, free_port
from tests.e2e.conftest import ROOT, Service, long, submit_and_reach

pytestmark = pytest.mark.e2e

LONG: dict[str, Any] = {"architecture": {"hidden": [256, 256]}, "data": "mnist_5k", "epochs": 16, "batch_size": 20}
PRETRAINED: dict[str, Any] = {
    "architecture": {"hidden": [128, 128], "activation": "sigmoid"},
    "init": {"scheme": "dbn", "rbm_epochs": 9, "batch": 20},
    "data": "mnist_5k",
    "epochs": 2,
}
NewService = Callable[..., Service]


def undisturbed(data: DataSet, threads: int, body: dict[str, Any] = LONG) -> str:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        training = Training([resolve_spec(body)], data, torch.device("cpu"))
        while not training.finished:
            training.run_epoch()
    finally:
        torch.set_num_threads(before)
    return weights_sha256(training.snapshot(0).weights)


def alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_worker_killed_in_mid_job_is_replaced_and_the_job_ends_with_the_same_bits(
    new_service: NewService, five_thousand: DataSet
) -> None:
    service = new_service()
    service.start()
    job_id = service.client.post("/jobs", json=LONG).json()["id"]
    wait_until(lambda: service.job(job_id)["epoch"] >= 3, what="the third epoch")
    (worker,) = service.children("slot")
    os.kill(worker, signal.SIGKILL)
    job = service.wait_for_state(job_id, "succeeded", "failed")
    assert job["state"] == "succeeded"
    assert job["attempt"] == 2
    assert [one["epoch"] for one in job["metrics"]] == list(range(1, 17))
    found = service.client.get(f"/models/{job_id}").json()["weights_sha256"]
    assert found == undisturbed(five_thousand, job["device"]["threads"])


@long
def test_a_worker_killed_in_pretraining_is_followed_by_one_that_goes_on_from_its_last_epoch(
    new_service: NewService, five_thousand: DataSet
) -> None:
    service = new_service()
    service.start()
    job_id = service.client.post("/jobs", json=PRETRAINED).json()["id"]
    wait_until(lambda: len(service.job(job_id)["pretraining"]) >= 3, what="the third epoch of pre-training")
    shown = service.job(job_id)["progress"]
    assert (shown["phase"], shown["layer"]) == ("pretrain", 1)
    (worker,) = service.children("slot")
    os.kill(worker, signal.SIGKILL)
    job = service.wait_for_state(job_id, "succeeded", "failed")
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert [one["number"] for one in job["pretraining"]] == list(range(1, 19))
    found = service.client.get(f"/models/{job_id}").json()["weights_sha256"]
    assert found == undisturbed(five_thousand, job["device"]["threads"], PRETRAINED)


def test_a_stop_in_mid_job_leaves_nothing_running_and_the_job_goes_on_at_the_next_start(
    new_service: NewService,
) -> None:
    service = new_service()
    service.start()
    job_id = service.client.post("/jobs", json=LONG).json()["id"]
    wait_until(lambda: service.job(job_id)["epoch"] >= 2, what="the second epoch")
    children = service.children("api") + service.children("slot")
    assert service.stop(signal.SIGTERM) == 0
    assert not any(alive(child) for child in children)
    service.start()
    job = service.wait_for_state(job_id, "succeeded", "failed")
    assert (job["state"], job["attempt"]) == ("succeeded", 2)


def test_a_killed_api_is_replaced(new_service: NewService) -> None:
    service = new_service()
    service.start()
    (api,) = service.children("api")
    os.kill(api, signal.SIGKILL)

    def replaced() -> bool:
        found = service.children("api")
        return bool(found) and found != [api]

    wait_until(replaced, what="another API process")
    wait_until(service.is_ready, what="the API to answer")


@long
def test_a_service_started_right_after_its_supervisor_was_killed_takes_over(new_service: NewService) -> None:
    service = new_service()
    service.start()
    job_id = submit_and_reach(service.client, 1, epochs=60)
    assert service.process is not None
    before = service.children("api")
    service.process.kill()
    service.process.wait()
    service.start()
    # The API process before may answer for a moment after its supervisor's end, and `start` take it for the new one.
    wait_until(lambda: not any(alive(one) for one in before), what="the API process before to end")
    wait_until(service.is_ready, what="the new API process to answer")
    assert service.process.poll() is None
    job = service.wait_for_state(job_id, "succeeded", "failed")
    assert job["state"] == "succeeded"
    assert service.process.poll() is None


def test_a_service_whose_database_cannot_be_reached_answers_503_and_stays(new_service: NewService) -> None:
    service = new_service(FANIN_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/fanin")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(service.start)
        wait_until(lambda: answered(service) == 503, what="the API to answer")
        assert service.client.get("/jobs").status_code == 503
        assert service.client.get("/healthz").status_code == 200
        wait_until(lambda: service.output().count("trying again") >= 2, what="the worker to try again")
        assert service.process is not None
        assert service.process.poll() is None
        service.stop()
        with suppress(ServiceFailed):
            starting.result()


def answered(service: Service) -> int:
    """Return the status of /readyz, 0 if nothing answers."""
    try:
        return service.client.get("/readyz").status_code
    except httpx.TransportError:
        return 0


@long
def test_a_taken_port_ends_the_service_with_one_clear_line(new_service: NewService) -> None:
    service = new_service()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", service.port))
        taken.listen()
        with pytest.raises(ServiceFailed, match="ended with status 78"):
            service.start()
    assert f"cannot listen on 127.0.0.1:{service.port}" in service.output()


@long
def test_a_second_service_on_the_same_folder_is_refused(new_service: NewService) -> None:
    first, second = new_service(FANIN_WORKER_TTL_S="4"), new_service(FANIN_WORKER_TTL_S="4")
    first.start()
    wait_until(lambda: "is ready on" in first.output(), what="the first worker to hold its slot")
    with suppress(ServiceFailed):  # its API may be ready before its worker finds the slot taken
        second.start()
    assert second.process is not None
    assert second.process.wait(30) == 78
    assert "in use by another process" in second.output()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--host", "0.0.0.0"], "set FANIN_API_KEY, or pass --insecure"),
        (["serve", "--port", "99999"], "FANIN_PORT"),
        (["serve", "--slots", "many"], "FANIN_SLOTS"),
    ],
)
def test_wrong_settings_refuse_to_start_with_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        env=environment_without_settings() | {"FANIN_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_beyond_loopback_a_key_is_asked_for(new_service: NewService) -> None:
    service = new_service(FANIN_HOST="0.0.0.0", FANIN_API_KEY="sesame, open the door")
    service.start()
    assert service.client.get("/jobs").status_code == 401
    assert service.client.get("/jobs", headers={"Authorization": "Bearer sesame, open the door"}).status_code == 200
    assert "sesame" not in service.output()
    for log in (service.home / "logs").iterdir():
        assert "sesame" not in log.read_text()
