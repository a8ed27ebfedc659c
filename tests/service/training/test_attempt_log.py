"""The log of an attempt, beside the checkpoints of its jobs."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest

from benchmarks.machines import wait_until
from models.network.architecture import Architecture
from models.spec import SGD
from service.artifacts.layout import log_path
from service.artifacts.store import Artifacts
from service.store.job_transitions import delete_job
from service.training.attempt_log import MAX_LOG_BYTES, AttemptLog
from service.training.cleanup import Sweep
from tests.service.conftest import SMALL, Bench, die_at, problem

log = logging.getLogger("service.training.test")


@pytest.fixture(autouse=True)
def informed(caplog: pytest.LogCaptureFixture) -> None:
    """The level of a service: pytest's own is higher."""
    caplog.set_level(logging.INFO)


def text_of(artifacts: Artifacts, job_id: str, attempt: int = 1) -> str:
    found = artifacts.read_log(log_path(job_id, attempt))
    assert found is not None
    assert found.content is not None
    return found.content.decode()


def test_the_log_of_each_attempt_is_had_over_http(bench: Bench, api: httpx.Client) -> None:
    job_id, run_id = bench.submit()
    assert "attempt 0" in problem(api.get(f"/jobs/{job_id}/logs"), 404, "not-found")["detail"]
    die_at(bench, run_id, "commit", 2)
    bench.attempt(run_id)
    last = api.get(f"/jobs/{job_id}/logs")
    assert last.headers["content-type"] == "text/plain; charset=utf-8"
    assert last.headers["x-attempt"] == "2"
    assert f"{run_id}: attempt 2 begins on test:cpu-0" in last.text
    assert f"{job_id}: attempt 2 committed epoch 2" in last.text
    first = api.get(f"/jobs/{job_id}/logs?attempt=1").text
    assert "attempt 1 begins" in first
    assert "attempt 2" not in first
    problem(api.get(f"/jobs/{job_id}/logs?attempt=3"), 404, "not-found")
    problem(api.get("/jobs/job_1/logs"), 404, "not-found")


def test_a_job_that_fails_has_the_reason_in_its_log(bench: Bench, api: httpx.Client) -> None:
    linear = Architecture(hidden=(64, 64, 64), activation="identity")
    job_id, run_id = bench.submit(SMALL.model_copy(update={"architecture": linear, "optimizer": SGD(lr=10.0)}))
    bench.attempt(run_id)
    reason = api.get(f"/jobs/{job_id}").json()["error"]["detail"]
    assert reason.partition(".")[0] in api.get(f"/jobs/{job_id}/logs").text


def test_a_log_has_no_lines_of_other_jobs_and_no_more_than_its_limit(artifacts: Artifacts) -> None:
    with AttemptLog(artifacts, 1, ["job_a", "job_b"], "w"):
        log.info("begun")
        log.info("job_a: one")
        log.info("job_b: two")
    assert [line.rpartition(": ")[2] for line in text_of(artifacts, "job_a").splitlines()] == ["begun", "one"]
    assert [line.rpartition(": ")[2] for line in text_of(artifacts, "job_b").splitlines()] == ["begun", "two"]
    with AttemptLog(artifacts, 2, ["job_a"], "w"):
        for number in range(8000):
            log.info("line %d %s", number, "x" * 40)
    text = text_of(artifacts, "job_a", 2)
    assert len(text) <= MAX_LOG_BYTES
    assert text.splitlines()[-1].endswith(f"line 7999 {'x' * 40}")
    log.info("afterwards")
    assert text_of(artifacts, "job_a", 2) == text


def test_a_log_is_measured_in_bytes_and_a_line_is_of_the_whole_name_alone(artifacts: Artifacts) -> None:
    with AttemptLog(artifacts, 1, ["job_a", "job_ab"], "w"):
        log.info("job_ab: two")
        for number in range(3000):
            log.info("%d %s", number, "이미지" * 20)
    assert len(text_of(artifacts, "job_a").encode()) <= MAX_LOG_BYTES
    with AttemptLog(artifacts, 2, ["job_a", "job_ab"], "w"):
        log.info("job_ab: two")
    assert text_of(artifacts, "job_a", 2) == ""


def test_a_line_that_cannot_be_formatted_stops_no_training(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with AttemptLog(artifacts, 1, ["job_a"], "w") as kept:
        kept.handle(logging.LogRecord("service", logging.INFO, "", 0, "%d epochs", ("two",), None))
        log.info("job_a: afterwards")
    assert "afterwards" in text_of(artifacts, "job_a")


def test_the_log_of_an_attempt_that_goes_on_is_written_meanwhile(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.training.attempt_log.WRITTEN_EVERY_S", 0.01)
    with AttemptLog(artifacts, 1, ["job_a"], "w"):
        log.info("half-way")
        wait_until(lambda: artifacts.read_log(log_path("job_a", 1)), 20, "the log")
        assert "half-way" in text_of(artifacts, "job_a")


def test_a_log_stays_with_its_job_and_goes_with_it(bench: Bench, artifacts: Artifacts) -> None:
    job_id = bench.trained()
    assert not any(Sweep(bench.engine, artifacts, None).sweep())
    assert text_of(artifacts, job_id)
    delete_job(bench.engine, job_id)
    Sweep(bench.engine, artifacts, None).sweep()
    assert artifacts.read_log(log_path(job_id, 1)) is None


def test_what_a_killed_worker_left_of_a_log_is_swept_up(bench: Bench, artifacts: Artifacts) -> None:
    job_id = bench.trained()
    log_file = Path(artifacts.where) / log_path(job_id, 1)
    part = log_file.with_name(f".{log_file.name}.0a1b.part")
    part.write_bytes(b"half a li")
    assert Sweep(bench.engine, artifacts, None).sweep().orphan_files == 1
    assert (part.exists(), log_file.exists()) == (False, True)


def test_a_disk_that_takes_no_log_stops_no_training(
    bench: Bench, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: str, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts, "replace", full)
    assert bench.trained()
