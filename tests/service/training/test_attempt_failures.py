"""What ends an attempt, and whether it ends the job: divergence, memory, disk, data, database, a request to stop."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError, OperationalError

from models.data.mnist import DataSet
from models.errors import DataMissing
from models.init.by_fans import XavierUniform
from models.network.architecture import Architecture
from models.spec import SGD
from models.training.train import Training
from service.errors import Unavailable
from service.store import commits, outages
from service.store.checkpoints import find_model, list_checkpoints
from service.store.engine import writing
from service.store.events import events_after
from service.store.jobs import get_job, job_metrics
from service.store.tables import epochs
from service.store.work_counts import work_done
from service.training import context as context_module
from service.training import monitor as watch_module
from service.training.attempt_policy import LacksData
from service.training.context import Drained
from service.training.run_attempt import RunAttempt
from tests.service.conftest import SMALL, Bench, Killed, die_at, undisturbed


def test_a_diverging_job_fails_with_the_reason_and_the_hint(bench: Bench) -> None:
    spec = SMALL.model_copy(
        update={
            "architecture": Architecture(hidden=(64, 64, 64), activation="identity"),
            "optimizer": SGD(lr=10.0),
            "init": XavierUniform(gain=10.0),
        }
    )
    job = get_job(bench.engine, bench.trained(spec))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["type"] == "loss-not-finite"
    assert "smaller learning rate" in job.error["hint"]
    assert re.search(
        r"epoch 1, step \d+.*\. Root mean squares of the weights at the start.*: [0-9.]+, [0-9.]+\.",
        job.error["detail"],
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out-of-memory"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "out-of-memory"),
        (OSError(28, "No space left on device"), "storage"),
        (DataMissing("MNIST is not here."), "data-missing"),
        (RuntimeError("surprise"), "internal"),
    ],
)
def test_every_failure_ends_the_job_with_its_reason(
    error: Exception, kind: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(RunAttempt, "_restored", fail)
    job = get_job(bench.engine, bench.trained())
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["type"] == kind
    assert job.error["detail"]


def test_a_database_that_answers_with_an_unknown_error_is_not_a_failed_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()

    def lose(*_arguments: object, **_keywords: object) -> None:
        raise DBAPIError("UPDATE", {}, Exception("what is this?"))

    with monkeypatch.context() as patch:
        patch.setattr(commits, "commit_checkpoints", lose)
        with pytest.raises(DBAPIError):
            bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "running"
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"


def work_of(bench: Bench) -> dict[str, int]:
    with bench.engine.connect() as connection:
        return work_done(connection)


def test_a_database_that_is_away_for_long_costs_time_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()
    original, calls = commits.commit_checkpoints, 0

    def away(*arguments: Any, **keywords: Any) -> object:
        nonlocal calls
        calls += 1
        if calls < 50:
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return original(*arguments, **keywords)

    monkeypatch.setattr(outages, "RETRY_PAUSE_S", 0.001)
    monkeypatch.setattr(outages, "MAX_RETRY_PAUSE_S", 0.001)
    monkeypatch.setattr(commits, "commit_checkpoints", away)
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.attempt) == ("succeeded", 1)


def test_a_database_that_is_away_for_a_moment_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit()
    original, calls = commits.commit_checkpoints, 0

    def answer_lost(*arguments: Any, **keywords: Any) -> object:
        nonlocal calls
        calls += 1
        committed = original(*arguments, **keywords)
        if calls == 2:  # committed, but the answer never came
            raise OperationalError("COMMIT", {}, Exception("server closed the connection"))
        return committed

    monkeypatch.setattr(outages, "RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(commits, "commit_checkpoints", answer_lost)
    bench.attempt(run_id)
    assert calls == 4
    job = get_job(bench.engine, job_id)
    assert (job.state, job.attempt) == ("succeeded", 1)
    assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2]
    assert find_model(bench.engine, job_id).checkpoint.weights_sha256 == undisturbed(bench.data)
    done = work_of(bench)
    assert (done["epochs"], done["commits"]) == (2, 3), "each is counted once: before the first epoch, and two after it"


def test_a_run_that_kills_its_worker_again_and_again_fails_instead_of_circling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()
    for _ in range(3):
        die_at(bench, run_id, "restore", 1)
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["type"] == "too-many-attempts"
    assert "without reporting an error" in job.error["detail"]


def test_a_worker_that_is_asked_to_stop_does_not_count_as_one_that_died(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_module, "DRAIN_PATIENCE_S", -1.0)
    job_id, run_id = bench.submit()
    for _ in range(5):
        with pytest.raises(Drained):
            bench.attempt(run_id, draining=lambda: True)
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.attempt) == ("succeeded", 6)


def test_a_gpu_whose_driver_failed_is_not_a_failed_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit()

    def fault(*_arguments: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)

    with monkeypatch.context() as patch:
        patch.setattr(RunAttempt, "_between_steps", fault)
        with pytest.raises(torch.AcceleratorError):
            bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "running"
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"


def test_files_that_cannot_be_read_for_a_moment_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 4}))
    die_at(bench, run_id, "commit", 4)
    before = list_checkpoints(bench.engine, job_id)

    def too_many_open(_path: Path) -> bytes:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", too_many_open)
        with pytest.raises(Unavailable):
            bench.attempt(run_id)
    assert list_checkpoints(bench.engine, job_id) == before
    bench.attempt(run_id)
    assert work_of(bench)["recoveries"] == 1, "the attempt after the one that raised an error recovers nothing"
    assert list_checkpoints(bench.engine, job_id)[: len(before) - 2] == before[:-2]
    assert get_job(bench.engine, job_id).state == "succeeded"


def test_a_worker_with_other_data_than_the_first_attempts_leaves_the_run_to_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "between_steps", 3)
    other, missing = dataclasses.replace(bench.data, sha256="other"), DataMissing("It is not here.")

    def fail(_choice: str) -> DataSet:
        raise missing

    for load in (lambda _choice: other, fail):
        with pytest.raises(LacksData):
            bench.attempt(run_id, "other:cpu-0", load_data=load)
    assert get_job(bench.engine, job_id).state == "running"
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"


def test_a_run_that_no_worker_has_the_data_for_fails_and_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "between_steps", 3)
    bench.data = dataclasses.replace(bench.data, sha256="other")
    for _ in range(3):
        with pytest.raises(LacksData):
            bench.attempt(run_id)
    bench.attempt(run_id)
    error = get_job(bench.engine, job_id).error
    assert error is not None
    assert error["type"] == "too-many-attempts"
    assert "has files of mnist_5k that differ" in error["detail"]
    assert error["hint"] == "Give all machines the same files."


def test_an_attempt_that_fails_after_it_was_taken_over_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()

    def fail_late(*_arguments: object) -> None:
        with monkeypatch.context() as patch:
            patch.undo()
            monkeypatch.undo()
            bench.attempt(run_id, "second")
        raise RuntimeError("surprise")

    monkeypatch.setattr(RunAttempt, "_restored", fail_late)
    bench.attempt(run_id, "first")
    assert get_job(bench.engine, job_id).state == "succeeded"


def test_a_step_that_hangs_ends_the_process_and_leaves_its_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "WATCH_INTERVAL_S", 0.02)
    monkeypatch.setattr(watch_module, "LOCKED_AFTER", 1000)  # the timer would end this very process on a slow disk
    job_id, run_id = bench.submit()
    ended = threading.Event()

    def hang(_self: RunAttempt, _training: Training, _progress: object) -> None:
        assert ended.wait(20)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunAttempt, "_between_steps", hang)
        with pytest.raises(Killed):
            bench.attempt(run_id, end_process=ended.set, stall_limit_s=0.2)
    bench.attempt(run_id)
    events = events_after(bench.engine, 0, job_ids=[job_id])
    started = [event.data for event in events if event.type == "job.running"]
    assert started[1]["previous_attempt"]["type"] == "stalled"
    assert "made no step" in started[1]["previous_attempt"]["detail"]
    assert get_job(bench.engine, job_id).state == "succeeded"


def test_a_training_that_waits_for_its_files_is_not_taken_for_one_that_hangs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "WATCH_INTERVAL_S", 0.02)
    monkeypatch.setattr(watch_module, "LOCKED_AFTER", 1000)  # as above
    ended, original = threading.Event(), bench.artifacts.write_all

    def wait(contents: Mapping[str, bytes]) -> dict[str, str]:
        time.sleep(0.5)  # more than twice the limit
        return original(contents)

    monkeypatch.setattr(bench.artifacts, "write_all", wait)
    monkeypatch.setattr(bench.artifacts, "is_waiting", True)
    job_id, run_id = bench.submit()
    bench.attempt(run_id, end_process=ended.set, stall_limit_s=0.2)
    assert get_job(bench.engine, job_id).state == "succeeded"
    assert not ended.is_set()


def test_memory_that_runs_out_is_told_with_the_sizes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 2 GiB")

    monkeypatch.setattr(RunAttempt, "_restored", fail)
    error = get_job(bench.engine, bench.trained()).error
    assert error is not None
    assert "6,370 parameters" in error["detail"]
    assert "batch of 50" in error["detail"]
    assert "Tried to allocate 2 GiB" in error["detail"]


def test_a_job_that_takes_longer_than_its_spec_allows_fails_and_keeps_its_checkpoints(bench: Bench) -> None:
    job_id = bench.trained(SMALL.model_copy(update={"epochs": 10_000, "max_seconds": 0.5}))
    job = get_job(bench.engine, job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["type"] == "time-limit"
    assert 0 < job.epoch < 10_000
    assert find_model(bench.engine, job_id).checkpoint.epoch == job.epoch


def test_time_in_which_the_storage_is_away_does_not_count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "WATCH_INTERVAL_S", 0.02)
    original = bench.artifacts.write_all

    def wait(contents: Mapping[str, bytes]) -> dict[str, str]:
        time.sleep(0.8)
        return original(contents)

    monkeypatch.setattr(bench.artifacts, "write_all", wait)
    monkeypatch.setattr(bench.artifacts, "is_waiting", True)
    job = get_job(bench.engine, bench.trained(SMALL.model_copy(update={"max_seconds": 1.5})))
    assert (job.state, job.error) == ("succeeded", None)


def test_the_time_of_earlier_attempts_counts(bench: Bench) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 10_000, "max_seconds": 0.5}))
    die_at(bench, run_id, "commit", 3)
    with writing(bench.engine) as connection:
        metrics = select(epochs.c.metrics).where(epochs.c.job_id == job_id)
        longer = dict(connection.execute(metrics).scalars().first() or {}) | {"duration_s": 3600.0}
        connection.execute(update(epochs).where(epochs.c.job_id == job_id).values(metrics=longer))
    before = get_job(bench.engine, job_id).epoch
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.epoch) == ("failed", before)
