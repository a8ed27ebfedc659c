"""Models, predictions, data sets and schemes over real HTTP: what every answer holds, and every error."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from models.data.mnist import DataSet
from models.init import SCHEMES
from service.inference.pictures import encode_png
from service.settings import Settings
from tests.service.conftest import SMALL, Api, Bench, problem


def test_models_are_listed_and_shown_by_every_name(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    listed = api.get("/models").json()["data"]
    assert [model["id"] for model in listed] == [job_id]
    assert api.get(f"/models/{job_id}").json() == api.get("/models/latest").json() == listed[0]
    initial = api.get(f"/models/{job_id}@0").json()
    assert (initial["id"], initial["epoch"], initial["final"]) == (f"{job_id}@0", 0, False)
    assert initial["weights_sha256"] != listed[0]["weights_sha256"]
    assert listed[0]["parameter_count"] == SMALL.architecture.parameter_count


def test_the_evaluation_says_what_it_is_of(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    evaluation = api.get(f"/models/{job_id}/evaluation").json()
    assert evaluation["evaluated_on"] == "mnist_5k_held_out"
    assert evaluation["n"] == 200
    assert evaluation["test_accuracy"] is None
    assert evaluation["test_accuracy_raw255"] is None
    assert sum(map(sum, evaluation["confusion_matrix"])) == 200
    interval = evaluation["accuracy_interval"]
    assert interval["low"] < evaluation["accuracy"] < interval["high"]
    assert "final epoch" in problem(api.get(f"/models/{job_id}@1/evaluation"), 404, "not-found")["detail"]


@pytest.mark.parametrize("name", ["latest", "job_x", "job_x@9", "%00", "a%20b", "é"])
def test_a_missing_model_is_named_with_a_hint(name: str, api: httpx.Client) -> None:
    for response in (api.get(f"/models/{name}"), api.post("/predict", params={"model": name}, content=bytes(784))):
        assert problem(response, 404, "not-found")["detail"].endswith(".")


def test_one_image_is_answered_in_every_form(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    job_id = bench.trained()
    digit = few.test.images[0]
    answers = [
        api.post("/predict", content=encode_png(digit), headers={"Content-Type": "image/png"}),
        api.post("/predict", content=encode_png(digit)),
        api.post("/predict", content=digit.tobytes(), headers={"Content-Type": "application/octet-stream"}),
        api.post("/predict", json=digit.tolist()),
        api.post("/predict", json={"pixels": digit.tolist()}),
        api.post("/predict", json=(digit / 255).tolist()),
        api.post("/predict", files={"image": ("digit.png", encode_png(digit), "image/png")}),
    ]
    bodies = [answer.json() for answer in answers]
    assert [body["read_as"]["form"] for body in bodies] == ["png", "png", "raw", "json", "json", "json", "png"]
    assert [body["read_as"]["scale"] for body in bodies] == ["0-255"] * 5 + ["0-1", "0-255"]
    for body in bodies:
        assert body["probabilities"] == bodies[0]["probabilities"]
        assert sum(body["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert body["label"] == int(np.argmax(body["probabilities"]))
        assert body["model"]["id"] == f"{job_id}@2"
        assert "seen" not in body


def test_a_batch_is_answered_in_its_order(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    bench.trained()
    three = few.test.images[:3]
    alone = [api.post("/predict", content=image.tobytes()).json()["label"] for image in three]
    files = [("image", (f"{index}.png", encode_png(image), "image/png")) for index, image in enumerate(three)]
    for response in (
        api.post("/predict?shape=3,28,28", content=three.tobytes()),
        api.post("/predict", json=three.tolist()),
        api.post("/predict", files=files),
    ):
        assert [one["label"] for one in response.json()["predictions"]] == alone


def test_every_epoch_can_be_predicted_with(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    job_id = bench.trained()
    content = few.test.images[0].tobytes()
    answers = [
        api.post("/predict", params={"model": f"{job_id}@{epoch}"}, content=content).json() for epoch in range(3)
    ]
    assert [answer["model"]["id"] for answer in answers] == [f"{job_id}@{epoch}" for epoch in range(3)]
    assert len({answer["probabilities"][0] for answer in answers}) == 3


def test_another_size_is_refused_and_fit_shows_what_the_network_saw(
    bench: Bench, api: httpx.Client, few: DataSet
) -> None:
    bench.trained()
    buffer = io.BytesIO()
    Image.fromarray(255 - few.test.images[0]).resize((120, 120)).convert("RGB").save(buffer, "JPEG")
    refused = problem(api.post("/predict", content=buffer.getvalue()), 422, "invalid-image")
    assert "120x120" in refused["detail"]
    assert "?fit=true" in refused["detail"]
    answer = api.post("/predict", params={"fit": True}, content=buffer.getvalue()).json()
    assert answer["inverted"] is True
    assert answer["read_as"] == {"form": "jpeg", "scale": "0-255", "fitted": True}
    assert np.array(answer["seen"]).shape == (28, 28)


def test_ambiguous_numbers_are_refused_unless_the_caller_says(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    bench.trained()
    binary = (few.test.images[0] > 127).astype(int).tolist()
    assert "?scale=1" in problem(api.post("/predict", json=binary), 422, "invalid-image")["detail"]
    assert api.post("/predict", params={"scale": "1"}, json=binary).json()["read_as"]["scale"] == "0-1"


def test_a_damaged_or_missing_checkpoint_is_never_a_wrong_answer(bench: Bench, api: httpx.Client) -> None:
    from service.store.checkpoints import find_model

    job_id = bench.trained()
    row = find_model(bench.engine, job_id).checkpoint
    path = Path(bench.artifacts.where) / row.weights_path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\x00")
    response = api.post("/predict", content=bytes(784))
    assert "damaged" in problem(response, 503, "checkpoint-damaged")["detail"]
    assert int(response.headers["retry-after"]) > 0
    path.unlink()
    problem(api.post("/predict", content=bytes(784)), 503, "checkpoint-damaged")
    path.write_bytes(whole)
    assert api.post("/predict", content=bytes(784)).status_code == 200


def test_models_beyond_the_memory_limit_are_dropped_and_loaded_again(
    bench: Bench, settings: Settings, few: DataSet
) -> None:
    job_id = bench.trained()
    with Api(settings.model_copy(update={"predictor_cache_bytes": 0})) as client:
        content = few.test.images[0].tobytes()
        first, other, again = (
            client.post("/predict", params={"model": f"{job_id}@{epoch}"}, content=content).json()
            for epoch in (1, 2, 1)
        )
    assert first == again != other


@pytest.mark.parametrize(
    ("content", "headers", "status", "name"),
    [
        (b"", {}, 422, "invalid-image"),
        (b"hello", {}, 422, "invalid-image"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b"{", {"Content-Type": "application/json"}, 400, "malformed-body"),
        (b"[NaN]", {"Content-Type": "application/json"}, 400, "malformed-body"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "malformed-body"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "malformed-body"),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 422, "invalid-image"),
        (b"\x89PNG\r\n\x1a\n", {"Content-Type": "image/png"}, 422, "invalid-image"),
    ],
)
def test_bad_images_are_refused_with_the_cause(
    content: bytes, headers: dict[str, str], status: int, name: str, api: httpx.Client
) -> None:
    problem(api.post("/predict", content=content, headers=headers), status, name)


def test_a_test_digit_is_given_as_json_and_png(api: httpx.Client, five_thousand: DataSet) -> None:
    digit = api.get("/datasets/mnist_5k/test/17").json()
    assert digit["label"] == int(five_thousand.test.labels[17])
    assert np.array_equal(digit["pixels"], five_thousand.test.images[17])
    for answer in (
        api.get("/datasets/mnist_5k/test/17", headers={"Accept": "image/png"}),
        api.get("/datasets/mnist_5k/test/17", params={"format": "png"}),
    ):
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-label"] == str(digit["label"])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), five_thousand.test.images[17])


def test_random_digits_differ(api: httpx.Client) -> None:
    assert len({api.get("/datasets/mnist_5k/test/random").json()["index"] for _ in range(10)}) > 3


@pytest.mark.parametrize("index", ["1000", "-1", "x", "1.5", "99999999999999999999"])
def test_a_missing_digit_is_named_with_the_range(index: str, api: httpx.Client) -> None:
    assert "0 to 999" in problem(api.get(f"/datasets/mnist_5k/test/{index}"), 404, "not-found")["detail"]


def test_data_sets_say_whether_they_are_here(api: httpx.Client) -> None:
    listed = {one["name"]: one for one in api.get("/datasets").json()["data"]}
    assert not listed["mnist"]["available"]
    assert "python -m models fetch" in listed["mnist"]["detail"]
    assert listed["mnist_5k"]["available"]
    problem(api.get("/datasets/mnist/test/0"), 503, "data-missing")
    problem(api.get("/datasets/cifar/test/0"), 404, "not-found")


def test_every_scheme_is_listed_with_formula_parameters_ranges_and_source(api: httpx.Client) -> None:
    listed = api.get("/init-schemes").json()["data"]
    assert [one["name"] for one in listed] == list(SCHEMES)
    for one in listed:
        assert all(one[key] for key in ("title", "summary", "formula", "formula_tex", "source"))
        assert all(parameter["description"] for parameter in one["parameters"])
    by_name = {
        parameter["name"]: parameter for parameter in api.get("/init-schemes/xavier_uniform").json()["parameters"]
    }
    gain = by_name["gain"]
    assert (gain["default"], gain["exclusive_minimum"], gain["maximum"]) == (1.0, 0, 10)
    assert gain["choices"] == ["auto"]
    problem(api.get("/init-schemes/hinton"), 404, "not-found")
