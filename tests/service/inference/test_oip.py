"""Open Inference Protocol v2 over HTTP, as its clients speak it: JSON, binary tensors, classification, errors."""

from __future__ import annotations

import io
import json
import re
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from models.data.mnist import DataSet
from tests.service.conftest import Bench

LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def job_id(bench: Bench) -> str:
    return bench.trained()


@pytest.fixture
def images(few: DataSet) -> Any:
    return few.test.images[:3]


def expected(api: httpx.Client, job_id: str, images: Any) -> Any:
    answer = api.post(
        f"/models/{job_id}/predict?shape={len(images)},784",
        content=images.tobytes(),
        headers={"Accept": "application/x-npy"},
    )
    return np.load(io.BytesIO(answer.content))


def infer(api: httpx.Client, job_id: str, *, suffix: str = "", **request: Any) -> httpx.Response:
    return api.post(f"/v2/models/{job_id}{suffix}/infer", json=request)


def tensor(values: Any, datatype: str = "UINT8") -> dict[str, Any]:
    return {"name": "images", "shape": list(values.shape), "datatype": datatype, "data": values.tolist()}


def test_the_server_says_what_it_is_and_that_it_works(api: httpx.Client) -> None:
    for path in ("/v2", "/v2/"):
        server = api.get(path).json()
        assert server["name"] == "fanin"
        assert {"binary_tensor_data", "classification"} <= set(server["extensions"])
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert api.get(path).json() == {"live": True, "ready": True}


def test_a_model_says_what_it_takes_and_which_versions_it_has(job_id: str, api: httpx.Client) -> None:
    found = api.get(f"/v2/models/{job_id}").json()
    assert (found["name"], found["versions"]) == (job_id, ["0", "1", "2"])
    assert found["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    for path in (f"/v2/models/{job_id}/ready", f"/v2/models/{job_id}/versions/1/ready"):
        assert api.get(path).json()["ready"] is True
    assert api.get(f"/v2/models/{job_id}/versions/1").json()["versions"] == ["0", "1", "2"]
    assert api.get(f"/v2/models/{job_id}/config").json()["spec"]["batch_size"] == 50


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 1, 28, 28), (3, 784)], ids=str)
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
@pytest.mark.parametrize("binary", [False, True])
def test_every_shape_and_type_gives_the_same_answer(
    shape: tuple[int, ...], datatype: str, binary: bool, job_id: str, images: Any, api: httpx.Client
) -> None:
    values = images.reshape(shape)
    if datatype == "FP32":
        values = values.astype(np.float32) / np.float32(255)
    if binary:
        content = values.tobytes()
        given = {"name": "images", "shape": list(shape), "datatype": datatype}
        text = json.dumps({"inputs": [given | {"parameters": {"binary_data_size": len(content)}}]}).encode()
        answer = api.post(f"/v2/models/{job_id}/infer", content=text + content, headers={LENGTH: str(len(text))})
    else:
        answer = infer(api, job_id, inputs=[tensor(values, datatype)], id="7")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model_name"], body["model_version"], body.get("id")) == (job_id, "2", None if binary else "7")
    probabilities, labels = body["outputs"]
    assert (probabilities["name"], probabilities["shape"], probabilities["datatype"]) == (
        "probabilities",
        [3, 10],
        "FP32",
    )
    found = np.array(probabilities["data"], np.float32).reshape(3, 10)
    np.testing.assert_allclose(found, expected(api, job_id, images), atol=1e-6)
    assert labels == {"name": "labels", "shape": [3], "datatype": "INT64", "data": found.argmax(1).tolist()}


def test_flat_data_and_members_of_clients_own_are_read(job_id: str, images: Any, api: httpx.Client) -> None:
    flat = tensor(images) | {"data": images.ravel().tolist()}
    answer = api.post(
        f"/v2/models/{job_id}/infer",
        content=json.dumps({"model_name": job_id, "inputs": [flat], "outputs": [{"name": "labels"}]}),
    )
    assert [one["name"] for one in answer.json()["outputs"]] == ["labels"]


def test_a_bare_tensor_is_one_image(job_id: str, images: Any, api: httpx.Client) -> None:
    answer = api.post(f"/v2/models/{job_id}/infer", content=images[0].tobytes(), headers={LENGTH: "0"})
    assert answer.json()["outputs"][1]["data"] == [int(expected(api, job_id, images[:1]).argmax())]


def test_tensors_come_back_as_bytes_behind_the_json(job_id: str, images: Any, api: httpx.Client) -> None:
    answer = infer(api, job_id, inputs=[tensor(images)], parameters={"binary_data_output": True})
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH])
    body = json.loads(answer.content[:length])
    sizes = [one["parameters"]["binary_data_size"] for one in body["outputs"]]
    assert sizes == [120, 24]
    probabilities = np.frombuffer(answer.content[length : length + 120], "<f4").reshape(3, 10)
    np.testing.assert_allclose(probabilities, expected(api, job_id, images), atol=1e-6)
    labels = np.frombuffer(answer.content[length + 120 :], "<i8")
    assert labels.tolist() == probabilities.argmax(1).tolist()


def test_classification_gives_the_best_in_words(job_id: str, images: Any, api: httpx.Client) -> None:
    wanted: dict[str, Any] = {"name": "probabilities", "parameters": {"classification": 2}}
    (output,) = infer(api, job_id, inputs=[tensor(images)], outputs=[wanted]).json()["outputs"]
    assert (output["datatype"], output["shape"], len(output["data"])) == ("BYTES", [3, 2], 6)
    value, index, label = output["data"][0].split(":")
    best = expected(api, job_id, images)[0]
    assert float(value) == pytest.approx(float(best.max()), abs=1e-6)
    assert (int(index), label) == (int(best.argmax()), str(best.argmax()))
    wanted["parameters"] |= {"binary_data": True}
    answer = infer(api, job_id, inputs=[tensor(images[:1])], outputs=[wanted])
    tail = answer.content[int(answer.headers[LENGTH]) :]
    (size,) = struct.unpack("<I", tail[:4])
    assert tail[4 : 4 + size].decode() == output["data"][0]


def test_versions_are_epochs(job_id: str, images: Any, api: httpx.Client) -> None:
    first = infer(api, "latest", suffix="/versions/0", inputs=[tensor(images)]).json()
    assert first["model_version"] == "0"
    assert infer(api, job_id, suffix="/versions/9", inputs=[tensor(images)]).status_code == 404
    assert infer(api, job_id, suffix="/versions/x", inputs=[tensor(images)]).status_code == 404


def test_the_repository_lists_models_and_aliases(job_id: str, images: Any, api: httpx.Client) -> None:
    api.put("/aliases/champion", json={"model": job_id})
    found = {(one["name"], one["version"]) for one in api.post("/v2/repository/index").json()}
    assert found == {(job_id, "2"), ("champion", "2")}
    infer(api, "champion", inputs=[tensor(images)])
    assert api.get("/v2/models/champion/stats").json()["model_stats"][0]["inference_count"] == 3
    assert api.get("/v2/models/stats").json()["model_stats"][0]["name"] == "champion"


GOOD = {"name": "images", "shape": [1, 784], "datatype": "UINT8"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"inputs": []}, "inputs"),
    ({"inputs": [GOOD | {"data": [0] * 783}]}, "784 numbers"),
    ({"inputs": [GOOD | {"data": [0] * 783 + ["x"]}]}, "784 numbers"),
    ({"inputs": [GOOD | {"data": [0] * 783 + [256]}]}, "0 to 255"),
    ({"inputs": [GOOD | {"data": [0] * 783 + [0.5]}]}, "0 to 255"),
    ({"inputs": [GOOD | {"datatype": "FP32", "data": [0] * 783 + [2]}]}, "0 to 1"),
    ({"inputs": [GOOD | {"datatype": "INT8", "data": [0] * 784}]}, "UINT8 or FP32"),
    ({"inputs": [GOOD | {"shape": [28, 28, 1], "data": [0] * 784}]}, r"\[n,28,28\]"),
    ({"inputs": [GOOD | {"shape": [-1, 784], "data": [0] * 784}]}, "shape"),
    ({"inputs": [GOOD | {"shape": [10**12, 784], "data": []}]}, "more than 10000"),
    ({"inputs": [GOOD | {"name": "x", "data": [0] * 784}]}, "no input 'x'"),
    ({"inputs": [GOOD]}, "no data"),
    ({"inputs": [GOOD | {"parameters": {"binary_data_size": 784}}]}, "0 bytes follow"),
    ({"inputs": [GOOD | {"data": [0] * 784}], "outputs": [{"name": "logits"}]}, "outputs"),
]


@pytest.mark.parametrize(("request_", "says"), WRONG)
def test_a_wrong_request_is_told_what_is_wrong(
    request_: dict[str, Any], says: str, job_id: str, api: httpx.Client
) -> None:
    answer = api.post(f"/v2/models/{job_id}/infer", json=request_)
    assert answer.status_code in (400, 422)
    error = answer.json()["error"]
    assert isinstance(error, str)
    assert re.search(says, error), error


@pytest.mark.parametrize(
    ("length", "extra"), [("-1", b""), ("x", b""), ("100000", b""), ("2", b""), (None, b"xyz")], ids=str
)
def test_declared_lengths_that_do_not_fit_are_refused(
    length: str | None, extra: bytes, job_id: str, api: httpx.Client
) -> None:
    text = json.dumps({"inputs": [GOOD | {"data": [0] * 784}]}).encode()
    answer = api.post(f"/v2/models/{job_id}/infer", content=text + extra, headers={LENGTH: length or str(len(text))})
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


def test_a_model_that_is_not_there_is_404_with_a_string_error(api: httpx.Client) -> None:
    answer = api.post("/v2/models/none/infer", json={"inputs": [GOOD | {"data": [0] * 784}]})
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)


def test_outputs_are_as_many_as_there_are(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    job_id = bench.trained()
    tensor = {"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": few.test.images[0].ravel().tolist()}
    for outputs in ([{"name": "probabilities"}] * 5, [1] * 10_000):
        answer = api.post(f"/v2/models/{job_id}/infer", json={"inputs": [tensor], "outputs": outputs})
        assert answer.status_code == 422
        assert len(answer.content) < 10_000


def test_nulls_are_defaults_and_more_classes_than_ten_are_ten(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    job_id = bench.trained()
    tensor = {
        "name": "images",
        "shape": [1, 784],
        "datatype": "UINT8",
        "parameters": None,
        "data": few.test.images[0].ravel().tolist(),
    }
    body = {"parameters": None, "outputs": None, "inputs": [tensor]}
    assert len(api.post(f"/v2/models/{job_id}/infer", json=body).json()["outputs"]) == 2
    wanted = [{"name": "probabilities", "parameters": {"classification": 50}}]
    answer = api.post(f"/v2/models/{job_id}/infer", json=body | {"outputs": wanted}).json()
    assert answer["outputs"][0]["shape"] == [1, 10]


@pytest.mark.parametrize(
    ("content", "status"),
    [(b'\xef\xbb\xbf{"inputs":[]}', 422), (b"\xef\xbb\xbf[]", 422), (b"\x89PNG\r\n\x1a\n", 400), (bytes(784), 400)],
)
def test_what_is_no_request_is_refused(content: bytes, status: int, bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    answer = api.post(f"/v2/models/{job_id}/infer", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert status != 400 or "Inference-Header-Content-Length: 0" in answer.json()["hint"]
