"""What every operation shares: problems, HEAD, limits, the key, the description."""

from __future__ import annotations

import re
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.service.conftest import Api, Bench, problem


def test_health_and_readiness(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    ready = api.get("/readyz").json()
    assert ready.pop("disk_free_bytes") > 0
    assert ready.pop("version") == version("fanin")
    assert ready == {
        "status": "ok",
        "build": None,
        "database": "ok",
        "artifacts": "ok",
        "data": "mnist_5k",
        "workers": 0,
    }


def test_a_service_without_tables_is_alive_but_not_ready(tmp_path: Path) -> None:
    with Api(Settings(home=tmp_path)) as client:
        assert client.get("/healthz").status_code == 200
        assert "fanin migrate" in problem(client.get("/readyz"), 503, "database-not-ready")["detail"]


def test_an_unknown_path_and_a_wrong_method_say_what_there_is(api: httpx.Client) -> None:
    assert "/docs" in problem(api.get("/nothing"), 404, "no-such-path")["detail"]
    response = api.put("/jobs")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "DELETE, GET, HEAD, POST"
    assert api.put("/jobs/job_x/cancel").headers["allow"] == "POST"
    for path in ("/", "/docs", "/openapi.json", "/web/app.js"):
        assert api.post(path).headers["allow"] == "GET, HEAD"


def test_a_browser_finds_the_page_and_from_it_the_description(api: httpx.Client) -> None:
    response = api.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert 'href="/docs"' in response.text


def test_head_is_get_without_the_body(api: httpx.Client) -> None:
    for path in ("/jobs", "/healthz", "/openapi.json", "/docs"):
        head, get = api.head(path), api.get(path)
        assert head.status_code == get.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(get.content))


def test_head_of_a_stream_ends(bench: Bench, api: httpx.Client) -> None:
    job_id, _ = bench.submit()
    assert api.head(f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}).status_code == 200


def test_a_body_over_the_limit_is_refused_declared_or_not(settings: Settings) -> None:
    with Api(settings.model_copy(update={"max_body_bytes": 2000})) as client:
        problem(client.post("/predict", content=bytes(2001)), 413, "body-too-large")
        problem(client.post("/jobs", content=bytes(2001)), 413, "body-too-large")

        def growing() -> Any:
            for _ in range(30):
                yield bytes(100)

        problem(client.post("/predict", content=growing()), 413, "body-too-large")


def test_an_unexpected_error_is_a_problem_and_the_service_goes_on(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_arguments: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("service.api.routes.jobs.get_job", surprise)
    for _ in range(3):  # over one connection, which must not be closed under the next request
        assert "secret" not in problem(api.get("/jobs/job_x"), 500, "internal")["detail"]
    assert api.get("/healthz").status_code == 200


def test_a_database_without_tables_is_503(tmp_path: Path) -> None:
    with Api(Settings(home=tmp_path)) as client:
        for response in (client.get("/jobs"), client.get("/models/latest")):
            assert "fanin migrate" in problem(response, 503, "database-not-ready")["detail"]
            assert int(response.headers["retry-after"]) > 0


def test_a_request_with_very_many_wrong_fields_gets_a_short_answer(api: httpx.Client) -> None:
    response = api.post("/jobs", json={f"field{number}": 0 for number in range(100)})
    document = problem(response, 422, "invalid-request")
    assert len(document["errors"]) == 20
    assert document["detail"].endswith("and 95 more.")


def test_a_key_is_asked_for_everywhere_but_at_the_doors(settings: Settings) -> None:
    with Api(Settings(home=settings.home, api_key="sesame of the test")) as client:
        for path in ("/jobs", "/models", "/init-schemes", "/datasets", "/nothing", "/docsx"):
            response = client.get(path)
            problem(response, 401, "not-authenticated")
            assert response.headers["www-authenticate"] == "Bearer"
        problem(client.post("/predict", content=bytes(784)), 401, "not-authenticated")
        for wrong in (
            "sesame of the test",
            "Bearer",
            "Bearer sesame of the tes",
            "Bearer sesame of the test2",
            "Basic sesame of the test",
            "Bearer s\xe9same",
        ):
            assert client.get("/jobs", headers={b"Authorization": wrong.encode("latin-1")}).status_code == 401
        assert client.get("/jobs", headers={"Authorization": "Bearer sesame of the test"}).status_code == 200
        for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json"):
            assert client.get(path, follow_redirects=True).status_code == 200


def test_the_docs_page_uses_nothing_from_elsewhere(api: httpx.Client) -> None:
    import re

    page = api.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert assets
    for asset in assets:
        assert asset.startswith("/")
        assert api.get(asset).status_code == 200
    assert "//cdn" not in page


def test_requests_that_are_not_http_do_not_stop_the_service(api: httpx.Client) -> None:
    host, port = api.base_url.host, api.base_url.port
    assert port is not None
    with socket.create_connection((host, port), timeout=5) as raw:
        raw.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        raw.settimeout(5)
        assert b"400" in raw.recv(1000)
    assert api.get("/healthz").status_code == 200


def test_streams_do_not_hold_up_the_end_of_the_service(bench: Bench, settings: Settings) -> None:
    job_id, _ = bench.submit()
    server = Api(settings)
    client = server.__enter__()
    with client.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as response:
        next(response.iter_lines())
        server._server.should_exit = True
        server._thread.join(10)
        assert not server._thread.is_alive()


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "/jobs", b""),
        ("GET", "/healthz", b""),
        ("GET", "/jobs/none", b""),
        ("POST", "/jobs?validate_only=true", b'{"preset": "mnist_nn_xavier"}'),
        ("POST", "/predict?model=MODEL", bytes(784)),
        ("POST", "/predict?model=MODEL", bytes(2 * 784)),
        ("POST", "/models/MODEL/classify", bytes(784)),
        ("POST", "/predict", b"x"),
    ],
)
def test_answers_in_json_end_with_a_newline(
    method: str, path: str, content: bytes, bench: Bench, api: httpx.Client
) -> None:
    path = path.replace("MODEL", bench.trained()) if "MODEL" in path else path
    headers = {"Content-Type": "application/json"} if content.startswith(b"{") else {}
    answer = api.request(method, path, content=content, headers=headers)
    assert answer.content.endswith(b"}\n") or answer.content.endswith(b"]\n")
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_every_response_has_the_id_of_its_request(api: httpx.Client) -> None:
    assert api.get("/jobs", headers={"X-Request-Id": "class-7:a"}).headers["x-request-id"] == "class-7:a"
    made = {api.get(path).headers["x-request-id"] for path in ("/jobs", "/no/such", "/jobs/x", "/healthz")}
    assert len(made) == 4
    assert api.get("/jobs", headers={"X-Request-Id": "a b"}).headers["x-request-id"] not in ("a b", *made)


def test_a_job_tells_the_request_that_it_came_with(api: httpx.Client) -> None:
    job = api.post("/jobs", json={"epochs": 0}, headers={"X-Request-Id": "submission-1"}).json()
    (event,) = api.get(f"/jobs/{job['id']}/events").json()["data"]
    assert (event["type"], event["data"]) == ("job.queued", {"request_id": "submission-1"})


def test_requests_are_logged_if_that_is_wanted(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    for wanted in (False, True):
        caplog.clear()
        with caplog.at_level("INFO"), Api(settings.model_copy(update={"access_log": wanted})) as api:
            api.get("/jobs?label=secret-label")
        lines = [record.getMessage() for record in caplog.records if record.name == "service.http.guard"]
        assert len(lines) == wanted
        assert not lines or re.fullmatch(r"GET /jobs 200 \d+\.\d ms 127\.0\.0\.1", lines[0])
