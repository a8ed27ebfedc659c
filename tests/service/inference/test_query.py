"""Options of a prediction mean the same in the query, in a form and in JSON; unknown ones are refused by name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from models.data.mnist import DataSet
from models.spec import TrainSpec
from service.inference.pictures import encode_png
from tests.service.conftest import SMALL, Bench, problem


@pytest.fixture
def job_id(bench: Bench) -> str:
    return bench.trained()


def pointers(response: httpx.Response) -> list[str]:
    return [one["pointer"] for one in problem(response, 422, "invalid-request")["errors"]]


def test_options_in_a_form_or_beside_the_pixels_are_those_of_the_query(
    job_id: str, few: DataSet, api: httpx.Client
) -> None:
    image = few.test.images[0]
    options: dict[str, Any] = {"model": f"{job_id}@1", "top_k": 2, "fit": True}
    by_query = api.post("/predict", params=options, content=encode_png(image)).json()
    by_form = api.post("/predict", data=options, files={"image": ("x.png", encode_png(image))}).json()
    by_json = api.post("/predict", json=options | {"pixels": image.tolist()}).json()
    assert by_query["model"]["id"] == f"{job_id}@1"
    assert len(by_query["top"]) == 2
    assert by_form == by_query
    assert by_json | {"read_as": None} == by_query | {"read_as": None}


def test_unknown_options_are_refused_by_name(job_id: str, few: DataSet, api: httpx.Client) -> None:
    image = few.test.images[0]
    assert pointers(api.post("/predict?modle=latest", content=image.tobytes())) == ["?modle"]
    assert pointers(api.post("/predict", json={"pixels": image.tolist(), "topk": 2})) == ["#/topk"]
    sent = api.post("/predict", data={"topk": "2"}, files={"image": ("x.png", encode_png(image))})
    assert pointers(sent) == ["#/topk"]
    assert pointers(api.post(f"/models/{job_id}/predict?model=latest", content=image.tobytes())) == ["?model"]


@pytest.mark.parametrize("path", ["/jobs?stat=running", "/models?limt=3", "/healthz?x=1", "/init-schemes?page=2"])
def test_unknown_query_parameters_are_refused_by_every_operation(path: str, api: httpx.Client) -> None:
    (wrong,) = problem(api.get(path), 422, "invalid-request")["errors"]
    assert wrong["pointer"] == "?" + path.partition("?")[2].partition("=")[0]
    assert "there is no such parameter" in wrong["detail"]


def test_an_option_may_be_said_twice_but_not_in_two_ways(job_id: str, few: DataSet, api: httpx.Client) -> None:
    body = {"pixels": few.test.images[0].tolist(), "model": job_id}
    assert api.post(f"/predict?model={job_id}&fit=false", json=body).status_code == 200
    assert pointers(api.post("/predict?model=latest", json=body)) == ["#/model"]
    assert pointers(api.post("/predict?model=latest&model=best", content=bytes(784))) == ["?model"]
    assert pointers(api.post(f"/models/{job_id}@1/predict", json=body)) == ["#/model"]


def test_a_default_counts_as_not_given_but_the_model_of_a_path_does_not(
    job_id: str, few: DataSet, api: httpx.Client
) -> None:
    image, other = few.test.images[0], f"{job_id}@1"
    both = {"models": f"{job_id},{other}", "model": "best"}
    body = {"pixels": image.tolist()}
    names = [one["model"]["id"] for one in api.post("/predict", params=both, content=image.tobytes()).json()["answers"]]
    assert len(names) == 2
    for answer in (api.post("/predict", json=body | both), api.post("/predict?models=" + both["models"], json=body)):
        assert [one["model"]["id"] for one in answer.json()["answers"]] == names
    assert pointers(api.post("/models/best/predict", json=body | {"model": other})) == ["#/model"]
    assert pointers(api.post("/models/best/predict", json=body | {"models": other})) == ["#/models"]
    assert pointers(api.post(f"/predict?models={job_id}", json=body | {"model": other})) == ["#/model"]
    assert api.post(f"/models/{other}/predict", json=body | {"model": "best"}).json()["model"]["id"] == other


def test_a_name_in_the_path_that_is_too_long_is_not_found(few: DataSet, api: httpx.Client) -> None:
    for length in (100, 101, 500):
        path = f"/models/{'a' * length}/predict"
        problem(api.post(path, content=few.test.images[0].tobytes()), 404, "not-found")


def test_top_k_beyond_ten_is_ten(job_id: str, few: DataSet, api: httpx.Client) -> None:
    assert len(api.post("/predict?top_k=50", content=few.test.images[0].tobytes()).json()["top"]) == 10


def test_without_a_model_the_best_one_predicts_and_is_named(bench: Bench, few: DataSet, api: httpx.Client) -> None:
    content = few.test.images[0].tobytes()
    missing = problem(api.post("/predict", content=content), 404, "not-found")
    assert "no best model" in missing["detail"]
    better = bench.trained(SMALL)
    worse = bench.trained(TrainSpec.model_validate(SMALL.model_dump() | {"epochs": 0}))
    assert api.post("/predict", content=content).json()["model"]["id"].partition("@")[0] == better
    assert api.post("/predict?model=latest", content=content).json()["model"]["id"].partition("@")[0] == worse
    twin = bench.trained(SMALL)  # the same accuracy
    assert api.post("/predict", content=content).json()["model"]["id"].partition("@")[0] == twin
    assert api.get("/models/best").json()["id"] == api.get(f"/models/{twin}").json()["id"]
    assert problem(api.put("/aliases/best", json={"model": twin}), 422, "invalid-alias")


def test_the_best_of_a_job_that_was_deleted_is_the_next(bench: Bench, api: httpx.Client) -> None:
    first, second = bench.trained(SMALL), bench.trained(SMALL)
    assert api.get("/models/best").json()["id"].partition("@")[0] == second
    assert api.delete(f"/jobs/{second}").status_code in (200, 204)
    assert api.get("/models/best").json()["id"].partition("@")[0] == first


def test_an_empty_option_is_none_and_an_empty_file_field_too(job_id: str, few: DataSet, api: httpx.Client) -> None:
    png = encode_png(few.test.images[0])
    expected = api.post("/predict", content=png).json()
    boundary = "x" * 20
    parts = [
        b'Content-Disposition: form-data; name="top_k"\r\n\r\n',
        b'Content-Disposition: form-data; name="image"; filename="d.png"\r\nContent-Type: image/png\r\n\r\n' + png,
        b'Content-Disposition: form-data; name="other"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n',
    ]
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    answer = api.post("/predict", content=body + f"--{boundary}--\r\n".encode(), headers=headers)
    assert answer.json() == expected
    assert pointers(api.post("/predict?models=latest,best&model=latest", content=png)) == ["?model"]
    assert "none of them empty" in api.post("/predict?models=latest,", content=png).json()["detail"]


def test_two_lines_of_accept_are_one_list(job_id: str, few: DataSet, api: httpx.Client) -> None:
    headers = [("Accept", "text/html"), ("Accept", "application/x-npy")]
    answer = api.post("/predict", content=few.test.images[0].tobytes(), headers=headers)
    assert answer.headers["content-type"] == "application/x-npy"
