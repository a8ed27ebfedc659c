"""Clients that are slow, silent or too many do not stop the service for the others."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from benchmarks.machines import wait_until
from models.data.mnist import DataSet
from models.network.architecture import Architecture
from service.http import response_writes, server_protocol
from service.settings import Settings
from tests.service.conftest import SMALL, Api, Bench

LARGE = SMALL.model_copy(update={"architecture": Architecture(hidden=(4000,)), "epochs": 0})
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
DEADLINE_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every limit."""
    monkeypatch.setattr(server_protocol, "SWEEP_INTERVAL_S", 0.05)
    monkeypatch.setattr(server_protocol, "HEADER_LIMIT_S", 0.3)
    monkeypatch.setattr(server_protocol, "STALL_LIMIT_S", 0.3)


@contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    port = client.base_url.port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as raw:
        yield raw


def all_of(raw: socket.socket) -> bytes:
    """Return what the service sends until it closes the connection."""
    received = b""
    try:
        while part := raw.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET",
        REQUEST,
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 784\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
        b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 784\r\n\r\nabcd",
    ],
)
def test_a_request_that_does_not_go_on_is_closed(begun: bytes, api: httpx.Client) -> None:
    with connected(api) as raw:
        raw.sendall(begun)
        all_of(raw)
    assert api.get("/healthz").status_code == 200


def test_a_trickle_of_header_bytes_does_not_extend_the_limit(api: httpx.Client) -> None:
    with connected(api) as raw:
        raw.sendall(REQUEST)
        deadline = time.monotonic() + DEADLINE_S
        try:
            while time.monotonic() < deadline:
                raw.sendall(b"X: 1\r\n")
                time.sleep(0.05)
        except ConnectionError:
            return
    raise AssertionError("the connection stayed open")


def test_a_body_that_goes_on_slowly_is_read_to_its_end(api: httpx.Client) -> None:
    with connected(api) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 784\r\nConnection: close\r\n\r\n")
        for _ in range(8):
            raw.sendall(bytes(98))
            time.sleep(0.1)
        assert b" 404 " in all_of(raw).splitlines()[0]  # there is no model yet


@pytest.mark.parametrize("rest", [b"X: " + b"a" * 80_000 + b"\r\n\r\n", b"X: 1\r\n" * 20_000 + b"\r\n"])
def test_headers_that_are_too_large_are_refused(rest: bytes, api: httpx.Client) -> None:
    with connected(api) as raw:
        try:
            raw.sendall(REQUEST + rest)
        except ConnectionError:
            return
        assert all_of(raw)[:12] in (b"HTTP/1.1 431", b"")


def test_a_large_body_is_no_header(api: httpx.Client) -> None:
    for _ in range(3):  # over one connection
        assert api.post("/predict?shape=500,784", content=bytes(784 * 500)).status_code == 404


def test_a_stream_without_news_stays_open(bench: Bench, api: httpx.Client) -> None:
    job_id, _ = bench.submit()
    with api.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        time.sleep(0.6)
        bench.apply_action(job_id, "cancel")
        assert any(line == "event: job.cancelled" for line in lines)


def few_connections(settings: Settings, limit: int) -> Settings:
    return settings.model_copy(update={"max_connections": limit})


def test_beyond_the_limit_the_connection_that_waits_longest_makes_room(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_protocol, "HEADER_LIMIT_S", 60.0)
    with Api(few_connections(settings, 3)) as client, ExitStack() as open_ones:
        silent = [open_ones.enter_context(connected(client)) for _ in range(10)]
        assert client.get("/healthz").status_code == 200
        assert all_of(silent[0]) == b""
        silent[-1].sendall(REQUEST + b"Connection: close\r\n\r\n")
        assert all_of(silent[-1]).startswith(b"HTTP/1.1 200")
    assert "FANIN_MAX_CONNECTIONS" in caplog.text


def test_connections_that_are_at_work_are_not_closed_for_others(settings: Settings, bench: Bench) -> None:
    job_id, _ = bench.submit()
    asked: dict[str, Any] = {"headers": {"Accept": "text/event-stream"}}
    with Api(few_connections(settings, 2)) as client, ExitStack() as streams:
        for _ in range(2):
            stream = streams.enter_context(client.stream("GET", f"/jobs/{job_id}/events", **asked))
            assert stream.status_code == 200
        with connected(client) as raw:
            assert all_of(raw).startswith(b"HTTP/1.1 503")


def test_a_client_that_does_not_read_its_response_is_cut_off(settings: Settings, bench: Bench) -> None:
    job_id = bench.trained(LARGE)
    request = f"GET /models/{job_id}/weights HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    with Api(few_connections(settings, 2)) as client, ExitStack() as open_ones:
        for _ in range(2):
            raw = open_ones.enter_context(connected(client))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.sendall(request)
        client.close()

        def served() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{client.base_url.port}/healthz", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(served, 20, "the unread responses to be cut off")


def test_headers_after_an_early_answer_have_the_same_limit(settings: Settings) -> None:
    with Api(settings.model_copy(update={"max_body_bytes": 1024})) as client, connected(client) as raw:
        raw.sendall(b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\n")
        assert b" 404 " in raw.recv(4096)
        raw.sendall(b"x")
        try:
            raw.sendall(REQUEST)
            for _ in range(100):
                raw.sendall(b"X: " + b"a" * 10_000 + b"\r\n")
                time.sleep(0.01)
        except ConnectionError:
            return
    raise AssertionError("a megabyte of headers was read")


DIGIT = b"content-type: application/octet-stream\r\ncontent-length: 784\r\n"


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_client_that_offers_http_2_keeps_its_body(
    place: str, pieces: int, bench: Bench, api: httpx.Client, few: DataSet
) -> None:
    bench.trained()
    image = few.test.images[0].tobytes()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    head = offer + DIGIT if place == "before" else DIGIT + offer
    expected = api.post("/predict", content=image).json()
    for _ in range(2):
        with connected(api) as raw:
            sent = [b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n" + head + b"\r\n", image]
            for part in sent if pieces == 2 else [b"".join(sent)]:
                raw.sendall(part)
            answer = all_of(raw)
        assert answer.startswith(b"HTTP/1.1 200")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == expected


def test_a_client_of_http_1_0_gets_no_chunks(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    expected = api.get(f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}).content
    for path, accept in ((f"/jobs/{job_id}/events", b"text/event-stream"), ("/jobs", b"*/*")):
        with connected(api) as raw:
            raw.sendall(b"GET " + path.encode() + b" HTTP/1.0\r\nhost: 127.0.0.1\r\naccept: " + accept + b"\r\n\r\n")
            head, _, body = all_of(raw).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert body == expected if b"event" in accept else json.loads(body)["object"] == "list"


def test_an_end_of_headers_in_two_pieces_changes_no_byte_of_the_body(
    bench: Bench, api: httpx.Client, few: DataSet
) -> None:
    bench.trained()
    body = (b"\0" * 300 + b"\r\nupgrade: h2c\r\n\r\n").ljust(784, b"\0")
    with connected(api) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n" + DIGIT)
        time.sleep(0.05)
        raw.sendall(b"\r\n" + body)
        assert all_of(raw).startswith(b"HTTP/1.1 200")


def test_a_response_to_http_1_0_keeps_bytes_that_look_like_a_head() -> None:
    class Written:
        def __init__(self) -> None:
            self.bytes = b""

        def write(self, data: bytes) -> None:
            self.bytes += data

    transport = Written()
    unchunked = response_writes.Unchunked(transport)  # type: ignore[arg-type]
    body = b"HTTP/1.1 transfer-encoding: chunked\r\n"
    unchunked.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    unchunked.write(b"")
    unchunked.write(b"%x\r\n" % len(body) + body + b"\r\n")
    unchunked.write(b"0\r\n\r\n")
    assert transport.bytes == b"HTTP/1.1 200 OK\r\n\r\n" + body
