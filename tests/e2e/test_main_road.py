"""The main road by real clients: train, watch, predict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import weights_sha256
from models.data.mnist import DataSet
from models.spec import resolve_spec
from tests.e2e.conftest import Service, long

pytestmark = pytest.mark.e2e

SMALL: dict[str, Any] = {
    "preset": "mnist_nn_xavier",
    "architecture": {"hidden": [32]},
    "data": "mnist_5k",
    "epochs": 3,
}


def trained(service: Service, **overrides: Any) -> str:
    response = service.client.post("/jobs", json=SMALL | overrides)
    assert response.status_code == 201, response.text
    job_id: str = response.json()["id"]
    service.wait_for_state(job_id, "succeeded")
    return job_id


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    if shutil.which("curl") is None:
        pytest.skip("needs curl: apt-get install curl")
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "30", *arguments], capture_output=True, check=True
    )


def test_httpx_trains_watches_and_predicts(service: Service) -> None:
    job_id = trained(service)
    with service.client.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as stream:
        kinds = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")]
    assert kinds[0] == "job.queued"
    assert kinds.count("job.epoch") == 3
    assert kinds[-1] == "job.succeeded"
    metrics = service.client.get(f"/jobs/{job_id}/metrics").json()["data"]
    assert metrics[-1]["train_loss_mean"] < metrics[0]["train_loss_mean"]
    right = 0
    for index in range(20):
        digit = service.client.get(f"/datasets/mnist_5k/test/{index}", headers={"Accept": "image/png"})
        answer = service.client.post("/predict", content=digit.content, headers={"Content-Type": "image/png"})
        right += answer.json()["label"] == int(digit.headers["x-label"])
    assert right >= 14  # 3 epochs reach about 85 % of the held-out digits; fewer than 14 of 20 is 4 sd below


def test_curl_trains_and_predicts(service: Service, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{service.port}"
    job = json.loads(
        curl("--header", "Content-Type: application/json", "--data", json.dumps(SMALL), f"{base}/jobs").stdout
    )
    assert job["state"] == "queued"
    service.wait_for_state(job["id"], "succeeded")
    digit = tmp_path / "digit.png"
    curl("--header", "Accept: image/png", "--output", str(digit), f"{base}/datasets/mnist_5k/test/7")
    url = f"{base}/predict?model={job['id']}"
    for arguments in (
        ["--header", "Content-Type: image/png", "--data-binary", f"@{digit}"],
        ["--data-binary", f"@{digit}"],
        ["--form", f"image=@{digit}"],
    ):
        answer = json.loads(curl(*arguments, url).stdout)
        assert len(answer["probabilities"]) == 10
        assert answer["model"]["id"] == f"{job['id']}@3"
        assert answer["read_as"]["form"] == "png"


def test_the_same_spec_twice_gives_bit_identical_weights(service: Service) -> None:
    first, second = (service.client.get(f"/models/{trained(service)}").json() for _ in range(2))
    assert first["id"] != second["id"]
    assert first["weights_sha256"] == second["weights_sha256"]


def test_the_library_alone_gives_the_same_weights(service: Service, five_thousand: DataSet) -> None:
    import torch

    from models.training.train import train

    job = service.job(trained(service))
    threads = torch.get_num_threads()
    torch.set_num_threads(job["device"]["threads"])
    try:
        for training, _ in train([resolve_spec(SMALL)], five_thousand, torch.device("cpu")):
            found = weights_sha256(training.snapshot(0).weights)
    finally:
        torch.set_num_threads(threads)
    assert service.client.get(f"/models/{job['id']}").json()["weights_sha256"] == found


def test_zeros_are_trained_and_answer_the_same_for_every_image(service: Service) -> None:
    job_id = trained(service, init={"scheme": "zeros"})
    evaluation = service.client.get(f"/models/{job_id}/evaluation").json()
    assert evaluation["accuracy"] == 0.1
    assert evaluation["evaluated_on"] == "mnist_5k_held_out"


def test_the_api_process_has_no_torch_in_it(service: Service) -> None:
    (api,) = service.children("api")
    (worker,) = service.children("slot")
    assert "libtorch" in Path(f"/proc/{worker}/maps").read_text()
    assert "libtorch" not in Path(f"/proc/{api}/maps").read_text()


@pytest.mark.parametrize("niceness", [7])
def test_a_worker_has_the_niceness_of_its_setting(new_service: Callable[..., Service], niceness: int) -> None:
    service = new_service(FANIN_CPU_NICENESS=str(niceness))
    service.start()
    (api,), (worker,) = service.children("api"), service.children("slot")
    added = os.getpriority(os.PRIO_PROCESS, worker) - os.getpriority(os.PRIO_PROCESS, api)
    assert added == niceness


def test_a_running_job_is_cancelled_long_before_its_last_epoch(service: Service) -> None:
    job_id = service.client.post("/jobs", json=SMALL | {"epochs": 10_000}).json()["id"]
    service.wait_for_state(job_id, "running")
    assert service.client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelling"
    assert service.wait_for_state(job_id, "cancelled")["epoch"] < 5_000
    trained(service)  # the worker is free again


def test_progress_is_shown_while_a_job_runs(service: Service) -> None:
    from benchmarks.machines import wait_until

    job_id = service.client.post("/jobs", json=SMALL | {"epochs": 10_000}).json()["id"]

    def progress_of_training() -> dict[str, Any] | None:
        progress: dict[str, Any] | None = service.job(job_id)["progress"]
        return progress if progress and progress["phase"] == "train" else None

    progress = wait_until(progress_of_training, what="progress")
    assert progress["epochs"] == 10_000
    assert progress["time_left_s"] > 0
    service.client.post(f"/jobs/{job_id}/cancel")
    service.wait_for_state(job_id, "cancelled")


@long
def test_on_full_mnist_zeros_get_exactly_the_share_of_ones(mnist_folder: Path, tmp_path: Path) -> None:
    service = Service(tmp_path, mnist_folder)
    try:
        service.start()
        body = {"preset": "mnist_nn_xavier", "init": {"scheme": "zeros"}, "epochs": 1}
        job_id = service.client.post("/jobs", json=body).json()["id"]
        job = service.wait_for_state(job_id, "succeeded")
        evaluation = service.client.get(f"/models/{job_id}/evaluation").json()
        assert job["data_source"]["name"] == "mnist"
        assert evaluation["test_accuracy"] == evaluation["accuracy"] == 0.1135
        assert evaluation["n"] == 10_000
        assert service.client.get("/datasets/mnist/test/0").json()["label"] == 7
    finally:
        service.close()
