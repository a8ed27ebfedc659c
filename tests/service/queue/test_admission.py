"""A job that would cost more than is accepted is refused before it is queued, with the estimate."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select, update

from models.network.architecture import Architecture
from models.spec import TrainSpec
from service.errors import JobTooLarge
from service.queue.admission import JobLimits
from service.store.engine import writing
from service.store.tables import epochs
from tests.service.conftest import Bench, problem

HUGE = {"architecture": {"hidden": [8192, 8192]}, "epochs": 10_000}
SMALL = TrainSpec(architecture=Architecture(hidden=(8,)), epochs=2)


def test_a_job_of_terabytes_is_refused_and_nothing_is_queued(api: httpx.Client) -> None:
    for path, body in (("/jobs", HUGE), ("/experiments", {"base": HUGE, "seeds": [0, 1]})):
        detail = problem(api.post(path, json=body), 422, "job-too-large")["detail"]
        assert "checkpoints of 10,000 epochs need about 2,744" in detail
        assert "FANIN_MAX_CHECKPOINT_BYTES" in detail
    problem(api.post("/jobs?validate_only=true", json=HUGE), 422, "job-too-large")
    assert api.get("/jobs").json()["data"] == api.get("/experiments").json()["data"] == []


def test_the_estimates_are_told_before_anything_is_queued(api: httpx.Client) -> None:
    told = api.post("/jobs?validate_only=true", json={"preset": "mnist_nn_xavier"}).json()
    assert told["estimated_checkpoint_bytes"] == 4 * 269_322 * 20
    assert told["estimated_memory_bytes"] == 28 * 269_322 + 22 * 100 * (784 + 256 + 256 + 10)


@pytest.mark.parametrize(
    ("limits", "estimated_s", "says"),
    [
        (JobLimits(memory_bytes=SMALL.memory_bytes - 1), None, "FANIN_MAX_JOB_BYTES"),
        (JobLimits(checkpoint_bytes=SMALL.checkpoint_bytes - 1), None, "FANIN_MAX_CHECKPOINT_BYTES"),
        (JobLimits(seconds=9.0), 10.0, "FANIN_MAX_JOB_SECONDS"),
    ],
)
def test_each_estimate_has_its_limit(limits: JobLimits, estimated_s: float | None, says: str) -> None:
    with pytest.raises(JobTooLarge, match=says):
        limits.check(SMALL, estimated_s)


def test_estimates_at_the_limit_and_unknown_times_are_accepted() -> None:
    JobLimits(SMALL.memory_bytes, 10.0, SMALL.checkpoint_bytes).check(SMALL, 10.0)
    JobLimits(seconds=1.0).check(SMALL, None)
    JobLimits(seconds=9.0).check(SMALL.model_copy(update={"max_seconds": 9.0}), 10.0)


def test_a_job_that_would_take_too_long_at_the_measured_speed_is_refused(bench: Bench) -> None:
    bench.trained()
    with writing(bench.engine) as connection:
        metrics = dict(connection.execute(select(epochs.c.metrics)).scalars().first() or {})
        connection.execute(update(epochs).values(metrics=metrics | {"duration_s": 3.0}))
    bench.queue._limits = JobLimits(seconds=60.0)
    with pytest.raises(JobTooLarge, match=r"would take about \d+,\d+ s; 60 are accepted"):
        bench.submit(SMALL.model_copy(update={"epochs": 10_000, "data": "mnist_5k"}))
