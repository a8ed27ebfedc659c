"""Submissions with keys, waits, priorities and validation only; actions, deletion, events of several jobs."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from benchmarks.machines import wait_until
from service.api import event_hub
from service.api.dependencies import unquoted
from service.settings import Settings
from service.store import events
from service.store.tables import idempotency_keys
from tests.service.conftest import SMALL, Api, Bench, problem

BODY = SMALL.model_dump(mode="json")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ('"a"', "a"),
        (" bare ", "bare"),
        (r'"a \"b\""', 'a "b"'),
        (r'"a\\b"', r"a\b"),
        ('"', '"'),
        ('""', ""),
        ('"open', '"open'),
        ('a"b"', 'a"b"'),
    ],
)
def test_a_key_is_read_as_a_structured_string_or_as_it_is(sent: str, meant: str) -> None:
    assert unquoted(sent) == meant


@pytest.mark.parametrize("key", ['"a \\"key\\""', "bare-key"])
def test_a_key_repeats_the_first_answer(key: str, api: httpx.Client) -> None:
    first, second = (api.post("/jobs", json=BODY, headers={"Idempotency-Key": key}) for _ in range(2))
    assert first.json() == second.json()
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]
    problem(api.post("/jobs", json=BODY | {"seed": 1}, headers={"Idempotency-Key": key}), 422, "key-reused")


def test_a_key_of_before_networks_had_inputs_repeats_its_answer(bench: Bench, api: httpx.Client) -> None:
    first = api.post("/jobs", json=BODY, headers={"Idempotency-Key": "k"}).json()
    spec = dict(first["spec"])
    spec["architecture"] = {name: value for name, value in spec["architecture"].items() if name != "inputs"}
    before = hashlib.sha256(json.dumps([spec, None, "normal"]).encode()).hexdigest()
    with bench.engine.connect() as connection:
        assert connection.execute(select(idempotency_keys.c.fingerprint)).scalar() == before
    again = BODY | {"architecture": BODY["architecture"] | {"inputs": "zero_to_one"}}
    assert api.post("/jobs", json=again, headers={"Idempotency-Key": "k"}).json()["id"] == first["id"]
    other = BODY | {"architecture": BODY["architecture"] | {"inputs": "standardized"}}
    problem(api.post("/jobs", json=other, headers={"Idempotency-Key": "k"}), 422, "key-reused")


def test_a_quoted_and_a_bare_key_are_the_same(api: httpx.Client) -> None:
    ids = [api.post("/jobs", json=BODY, headers={"Idempotency-Key": key}).json()["id"] for key in ('"k"', "k")]
    assert ids[0] == ids[1]


def test_a_wait_holds_the_answer_until_the_job_has_ended(bench: Bench, api: httpx.Client) -> None:
    def train() -> None:
        while not (queued := api.get("/jobs", params={"state": "queued"}).json()["data"]):
            pass
        from service.store.jobs import get_job

        bench.attempt(get_job(bench.engine, queued[0]["id"]).run_id)

    worker = threading.Thread(target=train)
    worker.start()
    response = api.post("/jobs", json=BODY, headers={"Prefer": "respond-async, wait=15"})
    worker.join()
    assert response.json()["state"] == "succeeded"
    assert response.headers["preference-applied"] == "wait=15"


def test_a_question_only_is_answered_with_the_spec_and_queues_nothing(api: httpx.Client) -> None:
    response = api.post("/jobs", params={"validate_only": True}, json={"preset": "mnist_nn_xavier"})
    assert response.status_code == 200
    assert response.json()["parameter_count"] == 269_322
    assert response.json()["queue_position"] == 1
    assert api.get("/jobs").json()["data"] == []
    problem(api.post("/jobs", params={"validate_only": True}, json={"epochs": -1}), 422, "invalid-request")


def test_a_full_queue_answers_503_with_the_time_to_try_again(settings: Settings) -> None:
    with Api(settings.model_copy(update={"max_queued": 1})) as api:
        assert api.post("/jobs", json=BODY).status_code == 201
        response = api.post("/jobs", json=BODY)
        problem(response, 503, "queue-full")
        assert int(response.headers["retry-after"]) > 0


def test_a_job_is_paused_resumed_and_deleted_over_http(api: httpx.Client, settings: Settings) -> None:
    job = api.post("/jobs", json=BODY, params={"priority": "high"}).json()
    assert job["priority"] == "high"
    assert api.post(job["links"]["pause"]).json()["state"] == "paused"
    assert api.post(job["links"]["pause"]).json()["state"] == "paused"
    problem(api.post(job["links"]["retry"]), 409, "illegal-transition")
    assert api.post(job["links"]["resume"]).json()["state"] == "queued"
    assert api.delete(f"/jobs/{job['id']}").json() == {"id": job["id"], "object": "job", "deleted": True}
    problem(api.delete(f"/jobs/{job['id']}"), 404, "not-found")


def test_deleting_a_job_deletes_its_files(bench: Bench, api: httpx.Client, settings: Settings) -> None:
    job_id = bench.trained()
    folder: Path = settings.artifacts_folder / "jobs" / job_id
    assert folder.is_dir()
    api.delete(f"/jobs/{job_id}").raise_for_status()
    assert not folder.exists()


def test_events_of_several_jobs_come_in_one_list_and_one_stream(bench: Bench, api: httpx.Client) -> None:
    first, second, third = bench.trained(), bench.trained(), bench.trained()
    query = {"job": f"{first},{third}", "limit": "100"}
    listed = api.get("/events", params=query).json()["data"]
    assert {event["job_id"] for event in listed} == {first, third}
    assert len(api.get("/events", params={"limit": 100}).json()["data"]) == len(listed) * 3 // 2
    stream = api.get("/events", params=query, headers={"Accept": "text/event-stream"})
    assert stream.text.count("event: job.succeeded") == 2
    assert second not in stream.text
    problem(api.get("/events", params={"job": f"{first},job_x"}), 404, "not-found")


def test_workers_are_listed_with_what_they_run_on(bench: Bench, api: httpx.Client) -> None:
    bench.beat("lab:cpu-0", "run_x")
    (worker,) = api.get("/workers").json()["data"]
    assert (worker["name"], worker["is_live"], worker["run_id"]) == ("lab:cpu-0", True, "run_x")


def test_a_stream_of_events_beyond_the_limit_is_refused(bench: Bench, settings: Settings) -> None:
    job_id, _ = bench.submit()
    accept = {"Accept": "text/event-stream"}
    with Api(settings.model_copy(update={"max_streams": 1})) as client:
        with client.stream("GET", f"/jobs/{job_id}/events", headers=accept) as first:
            lines = first.iter_lines()  # kept: a response ends with its iterator
            assert next(lines)
            problem(client.get(f"/jobs/{job_id}/events", headers=accept), 503, "unavailable")
            assert client.get(f"/jobs/{job_id}/events").status_code == 200
        bench.apply_action(job_id, "cancel")
        wait_until(lambda: client.get(f"/jobs/{job_id}/events", headers=accept).status_code == 200, what="room")


def test_streams_cost_the_database_no_more_than_one(
    bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [bench.submit()[0] for _ in range(10)]
    with Api(settings) as client, ExitStack() as streams:
        accept = {"Accept": "text/event-stream"}
        lines = [
            streams.enter_context(client.stream("GET", f"/jobs/{job_id}/events", headers=accept)).iter_lines()
            for job_id in ids
        ]
        for of_job in lines:
            while not next(of_job).startswith("event: job.queued"):
                pass
        reads = 0
        original = events.events_after

        def counted(*arguments: Any, **keywords: Any) -> Any:
            nonlocal reads
            reads += 1
            return original(*arguments, **keywords)

        monkeypatch.setattr(event_hub, "events_after", counted)
        for job_id in ids:
            bench.apply_action(job_id, "cancel")
        for of_job in lines:
            assert any(line.startswith("event: job.cancelled") for line in of_job)
        assert 1 <= reads <= 10  # one for each look at the database that found news, not one for each stream


def test_the_stream_of_a_deleted_job_ends(bench: Bench, api: httpx.Client) -> None:
    job_id, _ = bench.submit()
    with api.stream("GET", f"/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert api.delete(f"/jobs/{job_id}").status_code == 200
        list(lines)


@pytest.mark.parametrize("part", ["metrics", "diagnostics", "checkpoints"])
def test_the_parts_of_a_job_come_in_pages(part: str, bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SMALL.model_copy(update={"epochs": 3}))
    whole = api.get(f"/jobs/{job_id}/{part}").json()
    assert not whole["has_more"]
    found, path = [], f"/jobs/{job_id}/{part}?limit=2"
    while path:
        answer = api.get(path)
        assert len(answer.json()["data"]) <= 2
        found += answer.json()["data"]
        path = answer.links["next"]["url"] if "next" in answer.links else ""
    assert found == whole["data"]
    assert len(found) >= 3
