"""Jobs and their events over real HTTP, trained by hand: what every answer holds, and every error."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
import torch
from sqlalchemy import update

from models.init.by_fans import XavierUniform
from models.init.constants import Zeros
from models.network.architecture import Architecture
from models.spec import PRESETS, SGD
from models.training.engine import best_engine
from service.store.engine import writing
from service.store.tables import checkpoints, diagnostics
from tests.service.conftest import SMALL, Bench, die_at, problem


def test_a_preset_is_submitted_resolved_and_queued(api: httpx.Client) -> None:
    response = api.post("/jobs", json={"preset": "mnist_nn_xavier"})
    assert response.status_code == 201
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["queue_position"] == 1
    assert job["preset"] == "mnist_nn_xavier"
    assert job["spec"] == PRESETS["mnist_nn_xavier"].model_dump(mode="json")
    assert api.get(response.headers["location"]).json() == job | {"metrics": [], "pretraining": [], "outcome": None}


def test_overrides_and_whole_specs_are_resolved(api: httpx.Client) -> None:
    overrides = {"preset": "mnist_nn_deep", "init": {"scheme": "he_normal"}, "epochs": 3, "seed": 1}
    spec = api.post("/jobs", json=overrides).json()["spec"]
    assert (spec["init"]["scheme"], spec["epochs"], spec["seed"]) == ("he_normal", 3, 1)
    assert spec["architecture"]["hidden"] == [512] * 4
    whole = SMALL.model_dump(mode="json")
    assert api.post("/jobs", json=whole).json()["spec"] == whole


@pytest.mark.parametrize("device", ["any", "cpu", "gpu"])
def test_a_job_asks_for_a_kind_of_device(device: str, bench: Bench, api: httpx.Client) -> None:
    bench.beat()  # of a worker on a CPU
    body = {"preset": "mnist_nn_xavier", "epochs": 1, "device": device}
    validated = api.post("/jobs?validate_only=true", json=body).json()
    assert (validated["estimated_start_at"] is None) == (device == "gpu"), "no GPU is there to begin it"
    job = api.post("/jobs", json=body).json()
    assert job["wanted_device"] == device
    assert job["device"] is None, "the device that trains it is known when it runs"
    paused = api.post(f"/jobs/{job['id']}/pause").json()
    resumed = api.post(f"/jobs/{paused['id']}/resume").json()
    assert (resumed["state"], resumed["wanted_device"]) == ("queued", device)
    members = api.post("/experiments", json={"base": {"epochs": 1}, "seeds": [1, 2], "device": device}).json()[
        "members"
    ]
    assert {api.get(f"/jobs/{member['job_id']}").json()["wanted_device"] for member in members} == {device}


def test_an_unknown_device_is_refused(api: httpx.Client) -> None:
    refused = problem(api.post("/jobs", json={"device": "tpu"}), 422, "invalid-request")
    assert "device" in str(refused)


def test_a_key_is_of_one_device(api: httpx.Client) -> None:
    def submit(**body: str) -> httpx.Response:
        return api.post("/jobs", json=body, headers={"Idempotency-Key": "a-key"})

    first = submit()
    assert submit(device="any").json()["id"] == first.json()["id"]
    problem(submit(device="gpu"), 422, "key-reused")


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "application/x+json"])
def test_json_is_read_under_its_media_types(media_type: str, api: httpx.Client) -> None:
    headers = {"Content-Type": media_type}
    assert api.post("/jobs", content=b'{"epochs": 1}', headers=headers).status_code == 201


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": ""}])
def test_a_body_that_is_not_declared_as_json_is_refused(headers: dict[str, str], api: httpx.Client) -> None:
    for method, path in (("POST", "/jobs"), ("POST", "/experiments"), ("PUT", "/aliases/champion")):
        answer = api.request(method, path, content=b"{}", headers=headers)
        assert "Content-Type: application/json" in problem(answer, 415, "unsupported-media-type")["detail"]
    assert api.get("/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b'{"preset": ', "not JSON"),
        (b'{"seed": NaN}', "not JSON"),
        (b'{"seed": Infinity}', "not JSON"),
        (b"\xff\xfe", "UTF-16"),
        (b"[1]", "JSON object"),
    ],
)
def test_malformed_bodies_are_refused(content: bytes, says: str, api: httpx.Client) -> None:
    answer = api.post("/jobs", content=content, headers={"Content-Type": "application/json"})
    assert says in problem(answer, 400, "malformed-body")["detail"]


def test_a_wrong_media_type_is_refused_with_the_hint(api: httpx.Client) -> None:
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
        "engine": best_engine(SMALL, torch.device("cpu")),
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


def test_a_job_that_has_ended_says_what_came_of_it_and_so_does_its_event(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SMALL.model_copy(update={"init": Zeros()}))
    outcome = api.get(f"/jobs/{job_id}").json()["outcome"]
    assert outcome["kind"] == "did_not_learn"
    assert "symmetry unbroken: the 8 units of layer 1 are one and the same" in outcome["reason"]
    assert outcome["remedy"].startswith("Draw the weights at random")
    events = api.get(f"/jobs/{job_id}/events").json()["data"]
    assert [one["data"]["outcome"] for one in events if one["type"] == "job.succeeded"] == [outcome]
    wild = {
        "optimizer": SGD(lr=10),
        "init": XavierUniform(gain=10),
        "architecture": Architecture(hidden=(64, 64, 64)),
    }
    diverged = api.get(f"/jobs/{bench.trained(SMALL.model_copy(update=wild))}").json()
    assert diverged["state"] == "failed"
    assert diverged["outcome"] == {
        "kind": "diverged",
        "reason": diverged["error"]["detail"],
        "remedy": diverged["error"]["hint"],
    }
    waiting, _ = bench.submit()
    assert api.get(f"/jobs/{waiting}").json()["outcome"] is None


def test_rows_of_another_version_cost_the_outcome_at_most(bench: Bench, api: httpx.Client) -> None:
    spec = SMALL.model_copy(update={"init": Zeros()})
    job_id, run_id = bench.submit(spec)
    die_at(bench, run_id, "commit", 2)
    with writing(bench.engine) as connection:  # a field that this version does not know, and none that it does
        connection.execute(update(diagnostics).values(data={"epoch": 0, "new": 1}))
    bench.attempt(run_id)
    assert api.get(f"/jobs/{job_id}").json()["outcome"]["kind"] == "did_not_learn"
    with writing(bench.engine) as connection:
        final = (checkpoints.c.job_id == job_id, checkpoints.c.final)
        connection.execute(update(checkpoints).where(*final).values(evaluation={"accuracy": 0.1}))
    found = api.get(f"/jobs/{job_id}").json()
    assert (found["state"], found["outcome"]) == ("succeeded", None)


def test_a_job_without_layer_records_has_an_outcome_too(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SMALL.model_copy(update={"init": Zeros(), "diagnostics": False}))
    outcome = api.get(f"/jobs/{job_id}").json()["outcome"]
    assert "No layer record names a cause." in outcome["reason"]


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
    monkeypatch.setattr("service.api.event_hub.HEARTBEAT_S", 0.05)
    job_id, _ = bench.submit()
    lines = []
    with api.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as response:
        for line in response.iter_lines():
            lines.append(line)
            if lines.count(": hb") == 2:
                break
    assert lines[-2:] == [": hb", ": hb"]  # no blank line after a heartbeat: some clients would see an empty event
