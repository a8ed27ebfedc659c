"""Accept is read with its weights (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import httpx
import pytest

from models.data.mnist import DataSet
from service.http.accept import chosen, prefers, takes_gzip
from tests.service.conftest import Bench

JSON, RAW, NPY = "application/json", "application/octet-stream", "application/x-npy"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (RAW, RAW),
        (f"{NPY};q=0.5, {RAW}", RAW),
        (f"{RAW};q=0.2, {NPY};q=0.9", NPY),
        (f"{JSON}, {RAW}", JSON),
        (f"{RAW};q=0, */*", JSON),
        (f"{JSON};q=0.1, application/*;q=0.2", RAW),
        ("text/html", JSON),
        (f"{RAW.upper()} ; Q=1.0", RAW),
        (f"{RAW};q=nonsense", RAW),
        (",;,=", JSON),
    ],
)
def test_the_highest_weight_of_the_most_specific_range_wins(accept: str, expected: str) -> None:
    assert chosen(accept, (JSON, RAW, NPY)) == expected


def test_a_type_is_preferred_only_by_a_higher_weight() -> None:
    assert prefers("text/event-stream", "text/event-stream", over=JSON)
    assert not prefers("text/event-stream;q=0.5, application/json", "text/event-stream", over=JSON)
    assert not prefers("application/json, text/event-stream", "text/event-stream", over=JSON)


@pytest.mark.parametrize(
    ("header", "takes"),
    [("", False), ("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0, *", False), ("*", True), ("identity", False)],
)
def test_gzip_is_sent_to_whom_it_is_no_burden(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes


def test_answers_follow_the_weights(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    job_id = bench.trained()
    content = few.test.images[0].tobytes()
    for accept, expected in ((f"{RAW};q=0.1, {JSON}", JSON), (f"{RAW}, {JSON};q=0.1", RAW)):
        assert api.post("/predict", content=content, headers={"Accept": accept}).headers["content-type"] == expected
    events = api.get(f"/jobs/{job_id}/events", headers={"Accept": f"text/event-stream;q=0.1, {JSON}"})
    assert events.headers["content-type"] == JSON
    picture = api.get("/datasets/mnist_5k/test/0", headers={"Accept": f"image/png;q=0.1, {JSON}"})
    assert picture.headers["content-type"] == JSON
    picture = api.get("/datasets/mnist_5k/test/0", headers={"Accept": "image/png, */*;q=0.1"})
    assert picture.headers["content-type"] == "image/png"
