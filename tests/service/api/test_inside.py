"""Distributions in a model's layers, and the path of an image, over HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from models.checkpoint import decode
from service.store.checkpoints import find_model
from tests.service.conftest import Bench, problem


@pytest.fixture
def job_id(bench: Bench) -> str:
    return bench.trained()


def test_distributions_are_of_every_checkpoint(job_id: str, api: httpx.Client) -> None:
    after = api.get(f"/models/{job_id}/distributions").raise_for_status().json()
    before = api.get(f"/models/{job_id}@0/distributions").raise_for_status().json()
    assert (after["model"], after["epoch"], before["model"], before["epoch"]) == (f"{job_id}@2", 2, f"{job_id}@0", 0)
    assert [layer["layer"] for layer in after["layers"]] == [1, 2]
    weights = decode(api.get(f"/models/{job_id}@0/weights").content).weights
    for number, layer in enumerate(before["layers"]):
        weight = weights[f"layers.{number}.weight"]
        assert sum(layer["weights"]["counts"]) + layer["weights"]["zeros"] == weight.size
        assert layer["weights"]["mean"] == pytest.approx(float(weight.mean(dtype=np.float64)), abs=1e-9)
        assert layer["weights"]["counts"] != after["layers"][number]["weights"]["counts"]


def test_a_path_is_of_one_image_in_any_form_and_agrees_with_the_prediction(job_id: str, api: httpx.Client) -> None:
    image = bytes(range(256)) * 3 + bytes(16)
    path = api.post(f"/models/{job_id}/path", content=image).raise_for_status().json()
    predicted = api.post(f"/models/{job_id}/predict", content=image).json()
    assert (path["label"], path["model"]) == (predicted["label"], predicted["model"])
    assert path["probabilities"] == pytest.approx(predicted["probabilities"], abs=1e-6)
    assert [(layer["layer"], layer["units"]) for layer in path["layers"]] == [(0, 784), (1, 8), (2, 10)]
    assert path["layers"][0]["activations"][255] == 1.0
    assert all(link["layer"] == 2 and link["target"] == path["label"] for link in path["links"])
    rows = [[float(value) for value in image[28 * row : 28 * row + 28]] for row in range(28)]
    assert api.post(f"/models/{job_id}/path", json={"pixels": rows}).json() == path
    drawn = api.post(f"/models/{job_id}/path?fit=true", json={"pixels": rows}).json()
    assert drawn["layers"][0] != path["layers"][0]


def test_a_path_of_several_images_is_refused(job_id: str, api: httpx.Client) -> None:
    refused = api.post(f"/models/{job_id}/path?shape=2,28,28", content=bytes(2 * 784))
    assert "2 images" in problem(refused, 422, "invalid-image")["detail"]


@pytest.mark.parametrize(("method", "what"), [("GET", "distributions"), ("POST", "path")])
def test_what_is_inside_of_no_model_is_not_found(method: str, what: str, api: httpx.Client) -> None:
    problem(api.request(method, f"/models/job_0/{what}", content=bytes(784)), 404, "not-found")


def test_distributions_of_damaged_weights_are_refused(job_id: str, bench: Bench, api: httpx.Client) -> None:
    path = Path(bench.artifacts.where) / find_model(bench.engine, job_id).checkpoint.weights_path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    assert "is damaged" in problem(api.get(f"/models/{job_id}/distributions"), 503, "unavailable")["detail"]


def test_a_file_that_names_no_data_set_is_refused(job_id: str, bench: Bench, api: httpx.Client) -> None:
    path = Path(bench.artifacts.where) / find_model(bench.engine, job_id).checkpoint.weights_path
    content = path.read_bytes()
    place = content.rindex(b"mnist_5k")  # behind that of the spec, which would be refused before
    path.chmod(0o600)
    path.write_bytes(content[:place] + b"mnist_6k" + content[place + 8 :])
    assert (
        "name no data set" in problem(api.get(f"/models/{job_id}/distributions"), 503, "checkpoint-damaged")["detail"]
    )
