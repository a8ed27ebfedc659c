"""How requests are sent: again where that is safe, under one key, with errors as exceptions."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import fanin
import httpx
import numpy as np
import pytest
import torch
from fanin import AsyncClient, Client, answers, errors

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
    client, asked = client_of(*[httpx.ConnectError("refused")] * 4, max_retries=3)
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


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_is_no_answer(status: int, tmp_path: Path) -> None:
    moved = [httpx.Response(status, headers={"Location": "http://elsewhere/"}) for _ in range(4)]
    client, _ = client_of(*moved)
    acts: list[Callable[[], Any]] = [
        lambda: client.jobs.delete("job_1"),
        lambda: client.models.weights("job_1"),
        lambda: client.models.download("job_1", tmp_path / "w.npz"),
        lambda: list(client.jobs.events("job_1")),
    ]
    for act in acts:
        with pytest.raises(fanin.Moved, match=r"moved to 'http://elsewhere/': set FANIN_URL"):
            act()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[]", b"", b"7"])
def test_what_is_no_answer_of_the_service_is_told_as_it_is(body: bytes, tmp_path: Path) -> None:
    def page() -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(body), headers={"Content-Type": "text/html"})

    client, _ = client_of(*(page() for _ in range(4)))
    acts: list[Callable[[], Any]] = [
        lambda: client.jobs.get("job_1"),
        lambda: list(client.jobs.list()),
        lambda: list(client.jobs.events("job_1")),
        lambda: client.models.download("job_1", tmp_path / "w.npz"),
    ]
    for act in acts:
        with pytest.raises(fanin.BadAnswer):
            act()
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_never_ends_is_noticed() -> None:
    def same() -> httpx.Response:
        return httpx.Response(200, json={"data": [JOB]}, headers={"Link": '</jobs?after=x>; rel="next"'})

    client, _ = client_of(*(same() for _ in range(5)))
    with pytest.raises(fanin.BadAnswer, match="has no end"):
        list(client.jobs.list())


@pytest.mark.parametrize("end", ["in order", "cut"])
def test_a_stream_that_brings_nothing_is_asked_for_less_and_less_often(
    end: str, no_pauses: Iterator[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = {"Content-Type": "text/event-stream"}
    answers = [
        httpx.Response(200, stream=httpx.ByteStream(b": hello\n\n"), headers=stream)
        if end == "in order"
        else httpx.ReadError("cut")
        for _ in range(6)
    ]
    client, asked = client_of(*answers, httpx.Response(204))
    assert list(client.jobs.events("job_1")) == []
    assert len(asked) == 7
    pauses = next(no_pauses)
    assert len(pauses) >= 5
    assert sum(pauses) > 5


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_service_is_waited_for_by_streams_downloads_and_waits(status: int, tmp_path: Path) -> None:
    def busy_then(answer: httpx.Response) -> Client:
        return client_of(httpx.Response(status), httpx.Response(status), answer)[0]

    assert list(busy_then(httpx.Response(204)).jobs.events("job_1")) == []
    ended = httpx.Response(200, json={"id": "job_1", "state": "succeeded"})
    client = busy_then(ended)
    assert client.jobs._job(JOB).wait(60).state == "succeeded"
    digest = base64.b64encode(hashlib.sha256(b"bytes").digest()).decode()
    whole = httpx.Response(200, stream=httpx.ByteStream(b"bytes"), headers={"Repr-Digest": f"sha-256=:{digest}:"})
    assert busy_then(whole).models.download("job_1", tmp_path / "w.npz").read_bytes() == b"bytes"


def test_a_download_that_never_grows_ends(tmp_path: Path) -> None:
    class Broken(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x" * 10
            raise httpx.ReadError("cut")

    headers = {"Repr-Digest": "sha-256=:AAAA:", "ETag": '"1"'}
    client, asked = client_of(*(httpx.Response(200, stream=Broken(), headers=headers) for _ in range(9)))
    with pytest.raises(fanin.ConnectionFailed, match="broke off 3 times"):
        client.models.download("job_1", tmp_path / "w.npz")
    assert len(asked) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["elsewhere:8000", "http://[::1", "ftp://host", "http://a..b", "http://host?x=1", "http://"]
)
def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(address)


def test_secrets_are_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="user or a password") as caught:
        Client("http://user:hidden@host")
    assert "hidden" not in str(caught.value)
    for key in ("hid\nden", "hidden\u00e9", "hid\x00den"):
        with pytest.raises(ValueError, match="characters that no key has") as caught:
            Client(api_key=key)
        assert "hid" not in str(caught.value)
    monkeypatch.setenv("FANIN_API_KEY", " hidden\n")
    client, asked = client_of(httpx.Response(200, json=JOB))
    client.jobs.get("job_1")
    assert asked[0].headers["Authorization"] == "Bearer hidden"
    monkeypatch.setenv("FANIN_API_KEY", "later")
    client, asked = client_of(httpx.Response(200, json=JOB))
    client.with_options(headers={"Bad": "a\nb"})


def test_a_copy_with_other_options_leaves_the_connections_open() -> None:
    client, _ = client_of(httpx.Response(200, json=JOB))
    with client.with_options(max_retries=1):
        pass
    assert client.jobs.get("job_1").id == "job_1"


def test_headers_of_the_caller_replace_those_of_the_client() -> None:
    client, asked = client_of(httpx.Response(200), httpx.Response(200))
    client.with_options(headers={"user-agent": "mine"}).request("GET", "/jobs?state=failed&limit=1")
    assert asked[0].headers.get_list("User-Agent") == ["mine"]
    assert asked[0].url.raw_path == b"/jobs?state=failed&limit=1"
    client.request("PATCH", "/jobs/j", body={}, headers={"content-type": "application/merge-patch+json"})
    assert asked[1].headers.get_list("Content-Type") == ["application/merge-patch+json"]
    with pytest.raises(ValueError, match="begins with /"):
        client.request("GET", "jobs")


@pytest.mark.parametrize("wrong", [{"max_retries": -1}, {"timeout_s": 0}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Client("http://fanin", **wrong)


def test_errors_and_answers_can_be_sent_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(errors.NotFound(404, {"detail": "no", "errors": "odd"}, {"X": "1"})))
    assert (type(error), error.status, str(error), error.errors) == (errors.NotFound, 404, "no", [])
    client, _ = client_of(httpx.Response(200, json=JOB | {"spec": {"epochs": 3}}))
    job = copy.deepcopy(client.jobs.get("job_1"))
    assert (type(job), job.spec.epochs) == (answers.JobWithMetrics, 3)
    assert pickle.loads(pickle.dumps(job)) == job
    job.to_dict()["spec"]["epochs"] = 9
    assert job.spec.epochs == 3


def test_an_empty_filter_and_one_text_for_many_models_are_refused() -> None:
    client, asked = client_of()
    with pytest.raises(ValueError, match="empty list"):
        client.jobs.delete_many(dry_run=False, state=[])
    with pytest.raises(TypeError, match="list of names"):
        client.ask(b"x", "best")
    for name in (".", ".."):
        with pytest.raises(ValueError, match="no name"):
            client.jobs.get(name)
    assert asked == []


def test_a_function_that_is_awaited_is_no_progress() -> None:
    async def look(_job: object) -> None: ...

    client, _ = client_of(httpx.Response(200, json=JOB))
    with pytest.raises(TypeError, match="not awaited"):
        client.jobs._job(JOB).wait(progress=look)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    client, asked = client_of(httpx.Response(201, json=JOB))
    client.jobs.create(seed=np.int64(3), epochs=torch.tensor(2), batch_size=np.array(5))  # type: ignore[arg-type]
    assert json.loads(asked[0].content) == {"seed": 3, "epochs": 2, "batch_size": 5}


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
