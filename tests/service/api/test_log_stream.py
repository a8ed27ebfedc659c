"""The log of a job, followed by server-sent events."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from service.api import log_stream
from service.api.event_hub import EventHub
from service.api.log_stream import LogStream, Place, checksum, lines_behind
from service.artifacts.store import Log
from service.errors import Unavailable
from service.store.job_transitions import delete_job
from service.store.jobs import get_job
from tests.service.conftest import Bench, die_at, problem

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def quick(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)  # of a service: pytest's own is higher
    monkeypatch.setattr(log_stream, "LOOK_INTERVAL_S", 0.02)
    monkeypatch.setattr(log_stream, "QUIET_AFTER_END_S", 0.3)


def events_in(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_stream_has_every_line_once_and_goes_on_into_the_next_attempt(bench: Bench, api: httpx.Client) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "commit", 2)
    with api.stream("GET", f"/jobs/{job_id}/logs?attempt=1", headers=STREAM) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_in(response)
        first = next(events)
        training = threading.Thread(target=bench.attempt, args=[run_id])
        training.start()
        rest = list(events)
        training.join()
    assert first["attempt"] == 1
    assert first["lines"] == api.get(f"/jobs/{job_id}/logs?attempt=1").text.splitlines()
    lines = [line for event in rest for line in event["lines"]]
    assert {event["attempt"] for event in rest} == {2}
    assert lines == api.get(f"/jobs/{job_id}/logs?attempt=2").text.splitlines()


def test_a_stream_that_was_cut_goes_on_behind_its_last_line(bench: Bench, api: httpx.Client) -> None:
    job_id, path = bench.trained(), "/jobs/{}/logs"
    lines = [line.encode() for line in api.get(path.format(job_id)).text.splitlines()]
    place = Place(1, checksum(lines, len(lines) - 3))
    headers = STREAM | {"Last-Event-ID": str(place.number)}
    with api.stream("GET", path.format(job_id), headers=headers) as response:
        (event,) = events_in(response)
    assert event["lines"] == [line.decode() for line in lines[-2:]]
    over = api.get(path.format(job_id), headers=STREAM | {"Last-Event-ID": str(event["id"])})
    assert over.status_code == 204, "a browser does not connect again"


def test_lines_that_were_dropped_meanwhile_are_a_gap_and_no_end() -> None:
    one, two, three = (b"2026-11-28T12:00:0%dZ INFO" % second for second in (1, 2, 3))
    place = Place(1, checksum([one, two], 1))
    assert lines_behind([one, two, three], place) == [three]
    assert lines_behind([two, three], place) == [three]
    assert lines_behind([three], place) == [three]
    assert lines_behind([one], Place(1)) == [one]
    assert Place.of(place.number) == place


def test_a_traceback_that_is_logged_again_is_not_taken_for_the_one_before() -> None:
    def failure(second: int) -> list[bytes]:
        return [b"2026-11-28T12:00:0%dZ ERROR failed" % second, b"  File x", b"ValueError: nothing"]

    lines = failure(1) + failure(2)
    assert lines_behind(lines, Place(1, checksum(lines, 2))) == failure(2)
    assert lines_behind(lines, Place(1, checksum(lines, 5))) == []


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_the_tail_is_the_last_lines(count: int, bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    lines = api.get(f"/jobs/{job_id}/logs").text.splitlines()
    assert api.get(f"/jobs/{job_id}/logs?tail={count}").text.splitlines() == lines[-count:]
    with api.stream("GET", f"/jobs/{job_id}/logs?tail={count}", headers=STREAM) as response:
        (event,) = events_in(response)
    assert event["lines"] == lines[-count:]
    problem(api.get(f"/jobs/{job_id}/logs?tail=0"), 422, "invalid-request")


def test_a_stream_of_a_job_that_is_deleted_ends(
    bench: Bench, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "QUIET_AFTER_END_S", 60.0)
    job_id = bench.trained()
    with api.stream("GET", f"/jobs/{job_id}/logs", headers=STREAM) as response:
        events = events_in(response)
        next(events)
        delete_job(bench.engine, job_id)
        assert list(events) == []
    problem(api.get(f"/jobs/{job_id}/logs", headers=STREAM), 404, "not-found")


def test_a_job_that_ended_without_a_log_has_no_stream(bench: Bench, api: httpx.Client) -> None:
    job_id, _ = bench.submit()
    bench.apply_action(job_id, "cancel")
    assert api.get(f"/jobs/{job_id}/logs", headers=STREAM).status_code == 204


def test_a_storage_that_is_away_is_no_end_of_a_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "commit", 2)
    bench.attempt(run_id)
    hub = EventHub(bench.engine, 10)
    stream = LogStream(hub, bench.artifacts, get_job(bench.engine, job_id), Place(1))
    original, looks = bench.artifacts.read_log, count()

    def sometimes(path: str, known: str | None = None) -> Log | None:
        if next(looks) in (0, 2, 3, 5):
            raise Unavailable("The object storage does not answer.")
        return original(path, known)

    monkeypatch.setattr(bench.artifacts, "read_log", sometimes)

    async def attempts() -> list[int]:
        return [json.loads(event.partition("data: ")[2])["attempt"] async for event in stream.events(None)]

    assert asyncio.run(attempts()) == [1, 2]


def test_a_tail_is_not_taken_again_of_what_follows(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    lines = api.get(f"/jobs/{job_id}/logs").text.splitlines()
    headers = STREAM | {"Last-Event-ID": str(Place(1, checksum([lines[0].encode()], 0)).number)}
    with api.stream("GET", f"/jobs/{job_id}/logs?tail=1", headers=headers) as response:
        (event,) = events_in(response)
    assert event["lines"] == lines[1:]
