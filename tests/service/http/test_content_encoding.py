"""Compressed bodies are read on every operation, within the limit of what comes out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import httpx
import pytest

from benchmarks.machines import wait_until
from models.data.mnist import DataSet
from service.inference.pictures import encode_png
from service.settings import Settings
from tests.service.conftest import Api, Bench, problem


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", raw_deflate),
    "upper case": ("GZIP", gzip.compress),
}


@pytest.mark.parametrize("kind", PACKED)
def test_a_prediction_reads_every_coding(kind: str, bench: Bench, api: httpx.Client, few: DataSet) -> None:
    coding, pack = PACKED[kind]
    bench.trained()
    content = few.test.images[0].tobytes()
    answer = api.post("/predict", content=pack(content), headers={"Content-Encoding": coding})
    assert answer.json() == api.post("/predict", content=content).json()


@pytest.mark.parametrize("kind", ["gzip"])
def test_every_operation_reads_compressed_bodies(kind: str, bench: Bench, api: httpx.Client, few: DataSet) -> None:
    coding, pack = PACKED[kind]
    headers = {"Content-Encoding": coding}
    job_id = bench.trained()
    digit = few.test.images[0]
    expected = api.post("/predict", content=digit.tobytes()).json()["label"]
    assert api.post("/predict", content=pack(digit.tobytes()), headers=headers).json()["label"] == expected
    found = api.post(f"/models/{job_id}/classify", content=pack(encode_png(digit)), headers=headers).json()
    assert found[0]["label"] == str(expected)
    in_json = headers | {"Content-Type": "application/json"}
    for path, body in (
        ("/jobs?validate_only=true", {"preset": "mnist_nn_xavier"}),
        ("/init-schemes/zeros/preview", {}),
        (
            f"/v2/models/{job_id}/infer",
            {"inputs": [{"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": digit.ravel().tolist()}]},
        ),
    ):
        content = json.dumps(body).encode()
        plain = api.post(path, content=content, headers={"Content-Type": "application/json"})
        packed = api.post(path, content=pack(content), headers=in_json)
        assert (packed.status_code, packed.json().keys()) == (200, plain.json().keys())


@pytest.mark.parametrize("coding", ["zstd", "br", "compress", "gzip, gzip", "nonsense"])
def test_other_codings_are_refused_with_those_that_are_read(coding: str, api: httpx.Client) -> None:
    answer = api.post("/predict", content=bytes(784), headers={"Content-Encoding": coding})
    assert coding in problem(answer, 415, "unsupported-encoding")["detail"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert api.post("/predict", content=bytes(784), headers={"Content-Encoding": "identity"}).status_code == 404


@pytest.mark.parametrize("bomb", [gzip.compress(bytes(3_000_000)), raw_deflate(bytes(3_000_000))])
def test_the_limit_holds_for_what_comes_out(bomb: bytes, settings: Settings) -> None:
    coding = "gzip" if bomb.startswith(b"\x1f\x8b") else "deflate"
    with Api(settings.model_copy(update={"max_body_bytes": 1_000_000})) as client:
        for path in ("/predict?shape=3826,784", "/models/best/classify"):
            answer = client.post(path, content=bomb, headers={"Content-Encoding": coding})
            assert "decompressed" in problem(answer, 413, "body-too-large")["detail"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(bytes(784))[:-8], "cut off"),
        (b"no gzip", "not gzip"),
        (gzip.compress(bytes(784)) + b"more", "Bytes follow"),
        (1100 * gzip.compress(b"") + gzip.compress(bytes(784)), "More than 1000 members of the body are empty"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/models/best/classify", "/jobs"])
def test_what_is_no_gzip_is_refused(content: bytes, says: str, path: str, api: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json" if path == "/jobs" else "image/png"}
    answer = api.post(path, content=content, headers=headers)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_a_few_empty_members_are_passed_over(api: httpx.Client) -> None:
    content = 900 * gzip.compress(b"") + gzip.compress(bytes(100))
    answer = api.post("/predict", content=content, headers={"Content-Encoding": "gzip"})
    assert "100 raw bytes" in problem(answer, 422, "invalid-image")["detail"]


def test_every_size_around_a_piece_comes_out_whole(api: httpx.Client) -> None:
    for size in (65_535, 65_536, 65_537, 65_600, 66_099, 131_072, 131_200):
        answer = api.post("/predict", content=raw_deflate(bytes(size)), headers={"Content-Encoding": "deflate"})
        assert f"{size} raw bytes" in problem(answer, 422, "invalid-image")["detail"]


def test_a_stream_that_was_asked_for_with_a_coding_ends_with_its_client(settings: Settings) -> None:
    with Api(settings.model_copy(update={"max_streams": 2})) as client:
        headers = {"Accept": "text/event-stream", "Content-Encoding": "gzip"}
        for _ in range(3):  # each would keep one of two places
            with client.stream("GET", "/events", headers=headers) as answer:
                assert answer.status_code == 200

        def has_room() -> bool:
            with client.stream("GET", "/events", headers={"Accept": "text/event-stream"}) as answer:
                return answer.status_code == 200

        wait_until(has_room, 10, "a place for another stream")


def test_a_gzip_file_of_several_members_is_read_whole(api: httpx.Client) -> None:
    parts = gzip.compress(bytes(500)) + gzip.compress(bytes(285))
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Encoding": "gzip, identity"}):
        answer = api.post("/predict", content=parts, headers=headers)
        assert "785 raw bytes" in problem(answer, 422, "invalid-image")["detail"]


def test_two_lines_of_codings_are_one_list(api: httpx.Client) -> None:
    headers = [("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")]
    answer = api.post("/predict", content=gzip.compress(gzip.compress(bytes(784))), headers=headers)
    assert "gzip, gzip" in problem(answer, 415, "unsupported-encoding")["detail"]
