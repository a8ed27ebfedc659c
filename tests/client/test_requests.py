"""How requests are sent: again where that is safe, under one key, with errors as exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import fanin
import httpx
import pytest
from fanin import AsyncClient, Client, errors

from service.errors import STATUS_OF

JOB = {"id": "job_1", "state": "queued"}
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Pauses are noted and not made."""
    pauses: list[float] = []
    monkeypatch.setattr("fanin._sync.clock.time.sleep", pauses.append)
    return iter([pauses])


def client_of(*answers: httpx.Response | Exception, max_retries: int = 2) -> tuple[Client, list[httpx.Request]]:
    """Return a client whose service gives these answers one after another, and the requests that it gets."""
    asked: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        one = left.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    transport = httpx.MockTransport(answer)
    client = Client("http://fanin", http_client=httpx.Client(transport=transport), max_retries=max_retries)
    return client, asked


def busy() -> httpx.Response:
    return httpx.Response(503, json={"detail": "busy", "type": "urn:fanin:problem:queue-full"})


def test_a_submission_that_is_sent_again_has_the_same_key_and_body() -> None:
    client, asked = client_of(httpx.ReadError("cut"), busy(), httpx.Response(201, json=JOB))
    assert client.jobs.create(init="he_normal", seed=3).id == "job_1"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert len({request.content for request in asked}) == 1
    assert asked[0].read() == b'{"init": {"scheme": "he_normal"}, "seed": 3}'
    client, again = client_of(httpx.Response(201, json=JOB))
    client.jobs.create(init="he_normal", seed=3)
    assert again[0].headers["Idempotency-Key"] != asked[0].headers["Idempotency-Key"]


def test_the_service_says_how_long_to_wait(no_pauses: Iterator[list[float]]) -> None:
    asked_for = [httpx.Response(503, headers={"Retry-After": seconds}) for seconds in ("5", "100000")]
    client, _ = client_of(*asked_for, httpx.Response(200, json=JOB))
    client.jobs.get("job_1")
    assert next(no_pauses) == [5.0, 60.0]


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_an_error_that_repeating_does_not_change_is_raised_at_once(status: int) -> None:
    client, asked = client_of(httpx.Response(status, json={"detail": "no"}))
    with pytest.raises(errors.of_status(status)):
        client.jobs.get("job_1")
    assert len(asked) == 1


def test_retries_end() -> None:
    client, asked = client_of(*[httpx.ReadError("cut")] * 4, max_retries=3)
    with pytest.raises(fanin.ConnectionFailed, match=r"http://fanin cannot be reached .* FANIN_URL"):
        client.jobs.get("job_1")
    assert len(asked) == 4
    client, asked = client_of(*[busy()] * 3)
    with pytest.raises(fanin.Unavailable, match="busy"):
        client.jobs.get("job_1")
    assert len(asked) == 3


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.jobs.delete("job_1"),
        lambda client: client.experiments.refine("exp_1"),
        lambda client: client.jobs.edit("job_1", name="x", if_version=1),
        lambda client: client.aliases.set("champion", "job_1", only_new=True),
        lambda client: client.aliases.delete("champion"),
        lambda client: client.jobs.delete_many(dry_run=False, label="x"),
        lambda client: client.request("POST", "/experiments/exp_1/refine"),
    ],
)
def test_what_could_happen_twice_is_sent_again_only_if_it_never_arrived(act: Callable[[Client], Any]) -> None:
    client, asked = client_of(httpx.ReadError("cut"))
    with pytest.raises(fanin.ConnectionFailed):
        act(client)
    assert len(asked) == 1
    client, asked = client_of(httpx.ConnectError("refused"), busy())
    with pytest.raises(fanin.Unavailable):
        act(client)
    assert len(asked) == 2


def test_every_status_of_the_service_has_a_class() -> None:
    for status in sorted({HTTPStatus(one) for one in STATUS_OF.values()}):
        known = errors.of_status(status)
        assert known not in (errors.ApiError,), status
        assert known.__doc__ is not None
        assert str(int(status)) in known.__doc__ or known is errors.ServiceFailed


def test_an_error_carries_the_problem() -> None:
    problem = {
        "type": "urn:fanin:problem:invalid-request",
        "title": "Unprocessable Content",
        "detail": "The request is not valid: #/epochs: should be less",
        "hint": "Correct it.",
        "errors": [{"pointer": "#/epochs", "detail": "should be less"}],
    }
    client, _ = client_of(httpx.Response(422, json=problem, headers={"X": "1"}))
    with pytest.raises(fanin.InvalidRequest) as caught:
        client.jobs.create(epochs=10**9)
    error = caught.value
    assert (error.status, error.kind, error.hint) == (422, "invalid-request", "Correct it.")
    assert error.errors == [("#/epochs", "should be less")]
    assert error.headers["X"] == "1"
    assert str(error) == problem["detail"]


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b"\xff\xfe"])
def test_an_error_of_something_before_the_service_is_told_as_it_is(body: bytes) -> None:
    client, _ = client_of(*[httpx.Response(502, content=body)] * 3)
    with pytest.raises(fanin.ServiceFailed) as caught:
        client.jobs.get("job_1")
    assert "502" in str(caught.value)


def test_options_change_a_copy_over_the_same_connections() -> None:
    client, asked = client_of(busy(), httpx.Response(200, json=JOB), httpx.Response(200, json=JOB))
    patient = client.with_options(max_retries=5, headers={"X-Class": "b"}, timeout_s=3)
    assert patient.jobs.get("job_1").id == "job_1"
    assert asked[-1].headers["X-Class"] == "b"
    assert asked[-1].extensions["timeout"]["read"] == 3
    client.jobs.get("job_1")
    assert "X-Class" not in asked[-1].headers


def test_the_key_is_sent_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANIN_API_KEY", "secret-of-the-class")
    monkeypatch.setenv("FANIN_URL", "http://elsewhere:8000/")
    client, asked = client_of(httpx.Response(200, json=JOB))
    client.jobs.get("job_1")
    assert asked[0].headers["Authorization"] == "Bearer secret-of-the-class"
    assert "secret" not in repr(client) + repr(client.jobs) + repr(client._transport)
    assert Client().base_url == "http://elsewhere:8000"
    with pytest.raises(ValueError, match="http://"):
        Client("elsewhere:8000")


def test_a_name_in_a_path_cannot_leave_its_place() -> None:
    client, asked = client_of(httpx.Response(200, json=JOB), httpx.Response(200, json={"object": "model"}))
    client.jobs.get("../workers?x=1#")
    assert asked[0].url.raw_path == b"/jobs/..%2Fworkers%3Fx%3D1%23"
    client.models.get("job_1@3")
    assert asked[1].url.raw_path == b"/models/job_1@3"


def test_a_raw_request_returns_the_response() -> None:
    client, asked = client_of(httpx.Response(200, json={"a": 1}, headers={"ETag": '"4"'}))
    response = client.request("GET", "/jobs/{job}", query={"limit": 3, "whole": True})
    assert (response.headers["ETag"], response.json()) == ('"4"', {"a": 1})
    assert asked[0].url.raw_path == b"/jobs/%7Bjob%7D?limit=3&whole=true"


def test_the_asynchronous_client_repeats_too() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) == 1:
            raise httpx.ReadError("cut")
        return httpx.Response(201, json=JOB)

    async def create() -> str:
        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        async with AsyncClient("http://fanin", http_client=http) as client:
            return (await client.jobs.create(preset="mnist_nn_deep")).id

    assert asyncio.run(create()) == "job_1"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
