"""Estimates of a start and a duration, from what the last jobs took."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from models.network.architecture import Architecture
from models.spec import TrainSpec
from service.store.engine import writing
from service.store.jobs import JobRequest, get_job
from service.store.queue_estimates import CAUTIOUS_SPEED, measured_speed, places
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
        connection.execute(update(jobs).values(ended_at=jobs.c.started_at + 60.0))
        metrics = dict(connection.execute(select(epochs.c.metrics)).scalars().first() or {}) | {"duration_s": 3.0}
        connection.execute(update(epochs).where(epochs.c.job_id == job_id).values(metrics=metrics))
        speed = measured_speed(connection)
    assert speed is not None
    assert speed.work_per_s == pytest.approx(spec.epoch_work / 3)
    of_job_s = spec.work / speed.work_per_s
    assert speed.fixed_s == pytest.approx(60 - of_job_s)
    assert speed.duration_s(1000 * spec.work) == pytest.approx(60 + 999 * of_job_s)  # not 60,000


def times(bench: Bench, seconds: dict[str, float]) -> None:
    """Let epochs have taken so many seconds."""
    with writing(bench.engine) as connection:
        for job_id, duration_s in seconds.items():
            of_job = epochs.c.job_id == job_id
            metrics = dict(connection.execute(select(epochs.c.metrics).where(of_job)).scalars().first() or {})
            connection.execute(update(epochs).where(of_job).values(metrics=metrics | {"duration_s": duration_s}))


def test_small_jobs_on_a_busy_machine_do_not_make_it_slow(bench: Bench) -> None:
    large = bench.trained(SMALL.model_copy(update={"architecture": Architecture(hidden=(400, 400))}))
    small = [bench.trained(SMALL.model_copy(update={"seed": seed})) for seed in range(22)]
    times(bench, {large: 8.0} | dict.fromkeys(small, 50.0))
    with bench.engine.connect() as connection:
        speed = measured_speed(connection)
        assert speed is not None
        assert speed.work_per_s == pytest.approx(get_job(bench.engine, large).spec.epoch_work / 8.0)


def test_a_few_short_epochs_are_no_measure_of_a_machine(bench: Bench) -> None:
    job_id = bench.trained()
    times(bench, {job_id: 2.4})
    with bench.engine.connect() as connection:
        speed = measured_speed(connection)
    assert speed is not None
    assert speed.work_per_s == CAUTIOUS_SPEED.work_per_s
    times(bench, {job_id: 2.6})
    with bench.engine.connect() as connection:
        speed = measured_speed(connection)
    assert speed is not None
    assert speed.work_per_s == pytest.approx(SMALL.epoch_work / 2.6)
