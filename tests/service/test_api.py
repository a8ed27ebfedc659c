"""The operations over real HTTP, with jobs trained by hand: what every answer holds, and every error."""

from __future__ import annotations

import io
import json
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.data import DataSet
from models.init import SCHEMES
from models.spec import PRESETS
from service.images import encode_png
from service.settings import Settings
from tests.service.conftest import SMALL, Api, Bench


def problem(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """Check that an answer is a problem document and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:fanin:problem:{name}"
    assert document["status"] == status
    assert document["detail"] == document["error"]
    assert document["instance"] == response.request.url.path
    return document


# -- jobs ------------------------------------------------------------------------------------------------------


def test_a_preset_is_submitted_resolved_and_queued(api: httpx.Client) -> None:
    response = api.post("/jobs", json={"preset": "mnist_nn_xavier"})
    assert response.status_code == 201
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["queue_position"] == 1
    assert job["preset"] == "mnist_nn_xavier"
    assert job["spec"] == PRESETS["mnist_nn_xavier"].model_dump(mode="json")
    assert api.get(response.headers["location"]).json() == job | {"metrics": []}


def test_overrides_and_whole_specs_are_resolved(api: httpx.Client) -> None:
    overrides = {"preset": "mnist_nn_deep", "init": {"scheme": "he_normal"}, "epochs": 3, "seed": 1}
    spec = api.post("/jobs", json=overrides).json()["spec"]
    assert (spec["init"]["scheme"], spec["epochs"], spec["seed"]) == ("he_normal", 3, 1)
    assert spec["architecture"]["hidden"] == [512] * 4
    whole = SMALL.model_dump(mode="json")
    assert api.post("/jobs", json=whole).json()["spec"] == whole


@pytest.mark.parametrize(
    "media_type", [None, "application/json", "application/json; charset=utf-8", "application/x+json"]
)
def test_json_is_read_with_and_without_its_media_type(media_type: str | None, api: httpx.Client) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    assert api.post("/jobs", content=b'{"epochs": 1}', headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b'{"preset": ', "not JSON"),
        (b'{"seed": NaN}', "not JSON"),
        (b'{"seed": Infinity}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "JSON object"),
    ],
)
def test_malformed_bodies_are_refused(content: bytes, says: str, api: httpx.Client) -> None:
    assert says in problem(api.post("/jobs", content=content), 400, "malformed-body")["detail"]


def test_a_wrong_media_type_is_refused_with_the_mend(api: httpx.Client) -> None:
    response = api.post("/jobs", content=b"{}", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert "--json" in problem(response, 415, "unsupported-media-type")["detail"]


def test_every_wrong_field_is_pointed_at(api: httpx.Client) -> None:
    body = {
        "init": {"scheme": "xavier_uniform", "gain": 0},
        "architecture": {"hidden": [8, 0]},
        "optimizer": {},
        "x": 1,
    }
    document = problem(api.post("/jobs", json=body), 422, "invalid-request")
    assert {error["pointer"] for error in document["errors"]} == {
        "#/init/gain",
        "#/architecture/hidden/1",
        "#/optimizer",
        "#/x",
    }
    assert all(error["detail"] for error in document["errors"])


def test_a_bare_scheme_name_is_told_how_to_be_written(api: httpx.Client) -> None:
    document = problem(api.post("/jobs", json={"init": "he_normal"}), 422, "invalid-request")
    assert '{"scheme": "he_normal"}' in document["detail"]


def test_jobs_are_listed_in_pages(api: httpx.Client) -> None:
    ids = [api.post("/jobs", json={"preset": "mnist_nn_xavier"}).json()["id"] for _ in range(3)][::-1]
    first = api.get("/jobs", params={"limit": 2, "state": "queued"})
    assert [job["id"] for job in first.json()["data"]] == ids[:2]
    assert first.json()["has_more"]
    second = api.get(first.links["next"]["url"])
    assert [job["id"] for job in second.json()["data"]] == ids[2:]
    assert not second.json()["has_more"]
    assert "link" not in second.headers
    assert len(api.get("/jobs", params={"limit": 100_000}).json()["data"]) == 3
    assert api.get("/jobs", params={"scheme": "he_normal"}).json()["data"] == []
    problem(api.get("/jobs", params={"limit": 0}), 422, "invalid-request")
    problem(api.get("/jobs", params={"after": "a b"}), 422, "invalid-request")
    problem(api.get("/jobs", params={"state": "asleep"}), 422, "invalid-request")
    problem(api.get("/jobs", params={"scheme": "nothing"}), 404, "not-found")


def test_a_trained_job_shows_what_it_did(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    job = api.get(f"/jobs/{job_id}").json()
    assert (job["state"], job["epoch"], job["attempt"], job["queue_position"]) == ("succeeded", 2, 1, None)
    assert job["device"] | {"torch": "", "threads": 0} == {
        "kind": "cpu",
        "name": "test",
        "threads": 0,
        "worker": "test:cpu-0",
        "engine": "stacked-step",
        "precision": "float32",
        "torch": "",
    }
    assert job["data_source"]["name"] == "mnist_5k"
    assert job["ended_at"] >= job["started_at"] >= job["created_at"]
    assert (job["progress"]["percent"], job["progress"]["time_left_s"], job["progress"]["epoch"]) == (100, 0, 2)
    assert job["created_at"].endswith("Z")
    metrics = api.get(job["links"]["metrics"]).json()["data"]
    assert metrics == job["metrics"]
    assert {"train_loss_mean", "train_loss_last_batch", "train_accuracy", "duration_s", "images_per_s"} <= set(
        metrics[0]
    )
    checkpoints = api.get(job["links"]["checkpoints"]).json()["data"]
    assert [one["model"] for one in checkpoints] == [f"{job_id}@{epoch}" for epoch in (0, 1, 2)]
    assert [one["final"] for one in checkpoints] == [False, False, True]


def test_a_waiting_job_is_cancelled_at_once_and_again_without_change(api: httpx.Client) -> None:
    job_id = api.post("/jobs", json={"preset": "mnist_nn_xavier"}).json()["id"]
    first, second = (api.post(f"/jobs/{job_id}/cancel") for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.json()["state"] == "cancelled"


def test_an_ended_job_cannot_be_cancelled(bench: Bench, api: httpx.Client) -> None:
    response = api.post(f"/jobs/{bench.trained()}/cancel")
    assert "succeeded" in problem(response, 409, "illegal-transition")["detail"]


@pytest.mark.parametrize("path", ["", "/metrics", "/events", "/checkpoints"])
def test_a_missing_job_is_named(path: str, api: httpx.Client) -> None:
    assert "'job_x'" in problem(api.get(f"/jobs/job_x{path}"), 404, "not-found")["detail"]


# -- events ----------------------------------------------------------------------------------------------------


def test_events_are_listed_in_pages(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    first = api.get(f"/jobs/{job_id}/events", params={"limit": 5})
    rest = api.get(first.links["next"]["url"])
    events = first.json()["data"] + rest.json()["data"]
    assert [event["id"] for event in events] == list(range(1, 9))
    assert events[0]["type"] == "job.queued"
    assert events[-1]["type"] == "job.succeeded"
    assert events[-1]["data"]["evaluated_on"] == "mnist_5k_held_out"


def parsed(stream: str) -> list[dict[str, str]]:
    """Parse server-sent events as the specification says."""
    events: list[dict[str, str]] = []
    current: dict[str, str] = {}
    for line in stream.split("\n"):
        if not line:
            if current:
                events.append(current)
            current = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            current[name] = value
    return events


def test_the_stream_of_an_ended_job_is_the_same_list_and_then_ends(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    listed = api.get(f"/jobs/{job_id}/events").json()["data"]
    response = api.get(f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    events = parsed(response.text)
    assert [json.loads(event["data"]) for event in events] == listed
    assert [event["event"] for event in events] == [event["type"] for event in listed]
    assert "retry" in events[0]
    assert "retry" not in events[1]


def test_a_reconnecting_stream_gets_what_follows_and_204_when_nothing_does(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    stream = {"Accept": "text/event-stream"}
    response = api.get(f"/jobs/{job_id}/events", headers=stream | {"Last-Event-ID": "6"})
    assert [event["id"] for event in parsed(response.text)] == ["7", "8"]
    for nothing_follows in ("8", "9" * 19):
        headers = stream | {"Last-Event-ID": nothing_follows}
        assert api.get(f"/jobs/{job_id}/events", headers=headers).status_code == 204
    problem(api.get(f"/jobs/{job_id}/events", params={"after": 10**30}), 422, "invalid-request")


def test_a_stream_tells_what_happens_while_it_is_open(bench: Bench, api: httpx.Client) -> None:
    job_id, run_id = bench.submit()
    started = threading.Event()

    def train() -> None:
        started.wait(10)
        bench.attempt(run_id)

    worker = threading.Thread(target=train)
    worker.start()
    kinds = []
    with api.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
                started.set()
    worker.join()
    assert kinds[0] == "job.queued"
    assert kinds[-1] == "job.succeeded"
    assert len(kinds) == 8


def test_long_silences_are_bridged_by_heartbeats(
    bench: Bench, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.events.HEARTBEAT_S", 0.05)
    job_id, _ = bench.submit()
    lines = []
    with api.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as response:
        for line in response.iter_lines():
            lines.append(line)
            if lines.count(": hb") == 2:
                break
    assert lines[-2:] == [": hb", ": hb"]  # no blank line after a heartbeat: some clients would see an empty event


# -- models ----------------------------------------------------------------------------------------------------


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
def test_a_missing_model_is_named_with_a_mend(name: str, api: httpx.Client) -> None:
    for response in (api.get(f"/models/{name}"), api.post("/predict", params={"model": name}, content=bytes(784))):
        assert problem(response, 404, "not-found")["detail"].endswith(".")


# -- predict ---------------------------------------------------------------------------------------------------


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
        api.post("/predict", content=three.tobytes()),
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
    path = bench.artifacts._root / row.weights_path
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
        (b"hello", {}, 415, "unsupported-media-type"),
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


# -- data sets and schemes -------------------------------------------------------------------------------------


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


# -- the protocol ----------------------------------------------------------------------------------------------


def test_health_and_readiness(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == api.get("/readyz").json() == {"status": "ok"}


def test_a_service_without_tables_is_alive_but_not_ready(tmp_path: Path) -> None:
    with Api(Settings(home=tmp_path)) as client:
        assert client.get("/healthz").status_code == 200
        assert "fanin migrate" in problem(client.get("/readyz"), 503, "database-not-ready")["detail"]


def test_an_unknown_path_and_a_wrong_method_say_what_there_is(api: httpx.Client) -> None:
    assert "/docs" in problem(api.get("/nothing"), 404, "no-such-path")["detail"]
    response = api.delete("/jobs")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert api.put("/jobs/job_x/cancel").headers["allow"] == "POST"


def test_a_browser_is_led_to_the_description(api: httpx.Client) -> None:
    response = api.get("/", follow_redirects=True)
    assert response.url.path == "/docs"
    assert "Fanin" in response.text


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

    monkeypatch.setattr("service.api.jobs.get_job", surprise)
    for _ in range(3):  # over one connection, which must not be closed under the next request
        assert "secret" not in problem(api.get("/jobs/job_x"), 500, "internal")["detail"]
    assert api.get("/healthz").status_code == 200


def test_a_database_without_tables_is_503(tmp_path: Path) -> None:
    with Api(Settings(home=tmp_path)) as client:
        for response in (client.get("/jobs"), client.get("/models/latest")):
            problem(response, 503, "unavailable")
            assert int(response.headers["retry-after"]) > 0


def test_a_request_with_very_many_wrong_fields_gets_a_short_answer(api: httpx.Client) -> None:
    response = api.post("/jobs", json={f"field{number}": 0 for number in range(50_000)})
    assert len(problem(response, 422, "invalid-request")["errors"]) == 100


def test_a_key_is_asked_for_everywhere_but_at_the_doors(settings: Settings) -> None:
    with Api(Settings(home=settings.home, api_key="sesame")) as client:
        for path in ("/jobs", "/models", "/init-schemes", "/datasets", "/nothing", "/docsx"):
            response = client.get(path)
            problem(response, 401, "not-authenticated")
            assert response.headers["www-authenticate"] == "Bearer"
        problem(client.post("/predict", content=bytes(784)), 401, "not-authenticated")
        for wrong in ("sesame", "Bearer", "Bearer sesam", "Bearer sesame2", "Basic sesame", "Bearer s\xe9same"):
            assert client.get("/jobs", headers={b"Authorization": wrong.encode("latin-1")}).status_code == 401
        assert client.get("/jobs", headers={"Authorization": "Bearer sesame"}).status_code == 200
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
