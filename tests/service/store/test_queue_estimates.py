"""Estimates of a start and a duration, from what the last jobs took."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from models.spec import TrainSpec
from service.store.engine import writing
from service.store.jobs import JobRequest
from service.store.queue_estimates import measured_speed, places
from service.store.tables import epochs, jobs
from tests.service.conftest import SMALL, TTL_S, Bench


def test_places_go_by_priority_and_then_by_age_and_starts_by_measured_speed(bench: Bench) -> None:
    bench.trained()
    bench.beat()
    low, normal, high, second = (
        bench.queue.submit(JobRequest(SMALL, priority=priority)).new for priority in ("low", "normal", "high", "high")
    )
    assert low is not None
    assert normal is not None
    assert high is not None
    assert second is not None
    with bench.engine.connect() as connection:
        found = places(connection, [one.job_id for one in (low, normal, high, second)], TTL_S)
    assert [found[one.job_id].position for one in (high, second, normal, low)] == [1, 2, 3, 4]
    starts = [found[one.job_id].starts_at for one in (high, second, normal, low)]
    assert all(start is not None for start in starts)
    assert starts == sorted(starts, key=lambda start: start or 0.0)


@pytest.mark.parametrize("scheme", ["he_normal", "dbn"])
def test_the_time_that_a_job_takes_beside_its_training_is_not_taken_for_slowness(bench: Bench, scheme: str) -> None:
    network = SMALL.architecture.model_copy(update={"activation": "sigmoid"})
    spec = TrainSpec.model_validate(SMALL.model_dump() | {"architecture": network, "init": {"scheme": scheme}})
    job_id = bench.trained(spec)
    with writing(bench.engine) as connection:
        connection.execute(update(jobs).values(ended_at=jobs.c.started_at + 5.0))
        metrics = dict(connection.execute(select(epochs.c.metrics)).scalars().first() or {}) | {"duration_s": 0.01}
        connection.execute(update(epochs).where(epochs.c.job_id == job_id).values(metrics=metrics))
        speed = measured_speed(connection)
    assert speed is not None
    assert speed.work_per_s == pytest.approx(spec.epoch_work / 0.01)
    of_job_s = spec.work / speed.work_per_s
    assert speed.fixed_s == pytest.approx(5 - of_job_s)
    assert speed.duration_s(1000 * spec.work) == pytest.approx(5 + 999 * of_job_s)  # not 5,000
