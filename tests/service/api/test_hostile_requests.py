"""Requests that no honest client sends get a 4xx that says why; none costs much more than it weighs."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest

from service.http.json_body import EXPERIMENT_BYTES, IMAGES_JSON_BYTES, SPEC_BYTES
from tests.service.conftest import Bench, problem

JSON = {"Content-Type": "application/json"}
NPY = {"Content-Type": "application/x-npy"}
FORM = 'multipart/form-data; boundary=x; charset="{}"'


def npy_of(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY\x01\x00\x02\x00{\n",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00\x02\x00{}",
        npy_of(b"(" * 200),
        npy_of(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 28)}\n"),
        npy_of(b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 28, 28)}\n"),
        npy_of(b"{'descr': '|O', 'fortran_order': False, 'shape': (28, 28)}\n", bytes(784 * 8)),
        npy_of(b"{'descr': '<f16', 'fortran_order': False, 'shape': (28, 28)}\n", bytes(784 * 16)),
        npy_of(b"{'descr': 'x', 'fortran_order': False, 'shape': (28, 28)}\n", bytes(784)),
        npy_of(b"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 28, 28)}\n"),
        npy_of(b"\xff\xfe\x00"),
    ],
)
def test_a_damaged_npy_is_an_invalid_image(content: bytes, api: httpx.Client) -> None:
    problem(api.post("/predict", content=content, headers=NPY), 422, "invalid-image")
    problem(api.post("/predict?fit=true", content=content, headers=NPY), 422, "invalid-image")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_npy_with_a_number_that_is_not_finite_is_an_invalid_image(bad: float, api: httpx.Client) -> None:
    array = np.zeros((3, 28, 28), np.float32)
    array[1, 2, 3] = bad
    file = io.BytesIO()
    np.save(file, array)
    assert "NaN or infinity" in problem(api.post("/predict", content=file.getvalue()), 422, "invalid-image")["detail"]


@pytest.mark.parametrize("length", ["\u00b2", "-1", "1e1", "9" * 5000, "0x1", "1_0", "٣"])
def test_a_length_of_the_json_part_that_is_no_number_is_a_malformed_body(length: str, api: httpx.Client) -> None:
    headers = {b"Inference-Header-Content-Length": length.encode("utf-8")}
    answer = api.post("/v2/models/latest/infer", content=b"{}", headers=headers)
    problem(answer, 400, "malformed-body")


@pytest.mark.parametrize("charset", ["undefined", "punycode", "rot13", "idna", "\u00e9", "utf-7"])
def test_a_form_in_a_charset_that_decodes_nothing_is_a_malformed_body(charset: str, api: httpx.Client) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="im\xffage"; filename="a\xff.png"\r\n\r\n\xff\r\n--x--\r\n'
    headers = {b"Content-Type": FORM.format(charset).encode("latin-1")}
    answer = api.post("/predict", content=part, headers=headers)
    assert answer.status_code in (400, 415, 422), answer.text


@pytest.mark.parametrize("asked", ["bytes=0-" + "9" * 5000, "bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000])
def test_a_range_of_thousands_of_digits_gets_the_whole_file(asked: str, bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    assert api.get(f"/models/{job_id}/weights", headers={"Range": asked}).status_code == 200


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2", "-" + "9" * 400, "1e999"])
def test_numbers_of_any_length_in_paths_and_queries_are_refused(number: str, api: httpx.Client) -> None:
    for path in (
        f"/jobs?limit={number}",
        f"/events?after={number}",
        f"/models/job_x@{number}",
        f"/v2/models/x/versions/{number}",
        f"/datasets/mnist_5k/test/{number}",
        f"/predict?top_k={number}",
    ):
        method = "POST" if path.startswith("/predict") else "GET"
        assert api.request(method, path).status_code in (404, 422), path
    assert api.get("/events", headers={b"Last-Event-ID": number.encode()}).status_code in (200, 422)


WIDE: list[tuple[str, dict[str, Any]]] = [
    ("/experiments", {"schemes": [1] * 100_000}),
    ("/experiments", {"seeds": ["x"] * 60_000}),
    ("/experiments", {"variants": [{}] * 60_000}),
    ("/experiments", {"base": {f"f{number}": 0 for number in range(10_000)}}),
    ("/jobs", {"architecture": {"hidden": [0] * 30_000}}),
    ("/jobs", {"init": {f"f{number}": 0 for number in range(5_000)}}),
    ("/init-schemes/zeros/preview", {"architecture": {"hidden": ["x"] * 10_000}}),
]


@pytest.mark.parametrize(("path", "body"), WIDE)
def test_a_list_or_an_object_that_is_too_long_is_refused_before_its_elements(
    path: str, body: dict[str, Any], api: httpx.Client
) -> None:
    document = problem(api.post(path, json=body), 400, "malformed-body")
    assert "items; at most" in document["detail"]
    assert len(json.dumps(document)) < 2000


@pytest.mark.parametrize("field", ["schemes", "seeds", "variants", "depths"])
def test_a_list_within_its_limit_gets_at_most_twenty_errors(field: str, api: httpx.Client) -> None:
    answer = api.post("/experiments", json={field: [[]] * 200})
    assert len(problem(answer, 422, "invalid-request")["errors"]) <= 20


def test_a_very_long_name_is_not_repeated_in_the_answer(api: httpx.Client) -> None:
    for body in ({"init": {"scheme": "x" * 60_000}}, {"x" * 60_000: 1}, {"preset": "x" * 60_000}):
        answer = api.post("/jobs", json=body)
        assert 400 <= answer.status_code < 500
        assert len(answer.content) < 10_000


@pytest.mark.parametrize(
    ("path", "limit_bytes"),
    [("/jobs", SPEC_BYTES), ("/init-schemes/zeros/preview", SPEC_BYTES), ("/experiments", EXPERIMENT_BYTES)],
)
def test_json_over_the_limit_of_its_operation_is_refused(path: str, limit_bytes: int, api: httpx.Client) -> None:
    within = b'{"seed":' + b" " * (limit_bytes - 11) + b"-1}"
    assert len(within) == limit_bytes
    assert api.post(path, content=within, headers=JSON).status_code == 422
    problem(api.post(path, content=within + b" ", headers=JSON), 413, "body-too-large")


@pytest.mark.parametrize("path", ["/predict", "/v2/models/latest/infer", "/models/latest/classify"])
def test_images_in_json_have_a_limit_of_their_own(path: str, api: httpx.Client) -> None:
    large = b"[" + b" " * IMAGES_JSON_BYTES + b"]"
    problem(api.post(path, content=large, headers=JSON), 413, "body-too-large")
    many = b"[" + b"[]," * 100_000 + b"[]]"
    problem(api.post(path, content=many, headers=JSON), 400, "malformed-body")


def test_a_long_text_among_the_numbers_of_a_tensor_is_refused(api: httpx.Client) -> None:
    tensor = {"name": "images", "shape": [1, 784], "datatype": "FP32", "data": ["x" * 100_000] + [0] * 783}
    problem(api.post("/v2/models/latest/infer", json={"inputs": [tensor]}), 422, "invalid-image")


def test_a_client_that_hangs_up_in_its_body_leaves_no_traceback(
    api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    from benchmarks.machines import wait_until

    caplog.set_level("INFO")
    port = api.base_url.port
    assert port is not None
    for path in ("/predict", "/jobs", "/models/latest/classify", "/v2/models/latest/infer"):
        caplog.clear()
        with socket.create_connection(("127.0.0.1", port)) as raw:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            raw.sendall(head.encode() + b"Content-Length: 784\r\n\r\nabcd")
        wait_until(lambda: "hung up" in caplog.text, what=f"a line about {path}")
        assert "Traceback" not in caplog.text
