"""Ended jobs go when they are too old, too many or too large; what is compared or named stays."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text, update

from service.errors import IllegalTransition, ModelInUse, NotFound
from service.store import runs
from service.store.aliases import delete_alias, set_alias
from service.store.checkpoints import list_checkpoints
from service.store.engine import open_engine, writing
from service.store.experiments import get_experiment, list_members
from service.store.job_lists import list_jobs
from service.store.job_transitions import delete_experiment
from service.store.jobs import get_job
from service.store.migration import migrate
from service.store.retention import Retention, expired_jobs
from service.store.space import give_back, prepare
from service.store.tables import jobs
from service.training.cleanup import Sweep
from tests.service.conftest import WORKER, Bench, die_at, problem

GRID: dict[str, Any] = {
    "base": {"architecture": {"hidden": [8]}, "batch_size": 50, "epochs": 1, "data": "mnist_5k"},
    "schemes": ["he_normal"],
    "seeds": [0, 1],
}


def age(engine: Engine, job_id: str, days: float) -> None:
    with writing(engine) as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(ended_at=jobs.c.ended_at - days * 86_400))


def test_without_a_limit_everything_is_kept(bench: Bench) -> None:
    age(bench.engine, bench.trained(), 10_000)
    assert expired_jobs(bench.engine, Retention()) == []


def test_each_limit_names_the_oldest_jobs(bench: Bench) -> None:
    first, second, third = (bench.trained() for _ in range(3))
    waiting, _ = bench.submit()
    age(bench.engine, first, 31)
    age(bench.engine, waiting, 31)
    assert expired_jobs(bench.engine, Retention(days=30)) == [first]
    assert expired_jobs(bench.engine, Retention(jobs=1)) == [first, second]
    assert expired_jobs(bench.engine, Retention(jobs=0)) == [first, second, third]
    sizes = 4 * get_job(bench.engine, first).spec.architecture.parameter_count * 3
    assert expired_jobs(bench.engine, Retention(checkpoint_bytes=3 * sizes + 100_000)) == []
    assert expired_jobs(bench.engine, Retention(checkpoint_bytes=3 * sizes)) == [first]


def test_the_optimizers_of_jobs_that_have_not_succeeded_count_as_twice_their_weights(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "commit", 3)
    bench.apply_action(job_id, "cancel")
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "cancelled"
    rows = list_checkpoints(bench.engine, job_id)
    resumes = sum(row.resume_path is not None for row in rows)
    assert resumes > 0
    size = sum(row.weights_bytes for row in rows) + 2 * resumes * rows[0].weights_bytes
    assert expired_jobs(bench.engine, Retention(checkpoint_bytes=size)) == []
    assert expired_jobs(bench.engine, Retention(checkpoint_bytes=size - 10)) == [job_id]


def test_jobs_with_an_alias_and_members_of_experiments_stay(bench: Bench, api: httpx.Client) -> None:
    named = bench.trained()
    set_alias(bench.engine, "champion", named, None)
    members = [one["job_id"] for one in api.post("/experiments", json=GRID).json()["members"]]
    for job_id in members:
        bench.attempt(get_job(bench.engine, job_id).run_id)
    plain = bench.trained()
    for strict in (Retention(jobs=0), Retention(days=0.0), Retention(checkpoint_bytes=0)):
        assert expired_jobs(bench.engine, strict) == [plain]
    delete_alias(bench.engine, "champion", None)
    assert expired_jobs(bench.engine, Retention(jobs=0)) == [named, plain]


def test_a_sweep_deletes_expired_jobs_with_their_files(bench: Bench) -> None:
    kept, gone = bench.trained(), bench.trained()
    set_alias(bench.engine, "champion", kept, None)
    swept = Sweep(bench.engine, bench.artifacts, None, retention=Retention(jobs=0)).sweep()
    assert swept.expired_jobs == 1
    assert [job.id for job in list_jobs(bench.engine)] == [kept]
    assert bench.artifacts.list_below(f"jobs/{gone}") == []
    assert bench.artifacts.list_below(f"jobs/{kept}") != []


def test_an_experiment_is_deleted_with_its_members_or_not_at_all(bench: Bench, api: httpx.Client) -> None:
    for worker in ("one:cpu-0", "other:cpu-0"):  # each gets a run
        bench.beat(worker)
    found = api.post("/experiments", json=GRID).json()
    path, members = f"/experiments/{found['id']}", [one["job_id"] for one in found["members"]]
    first, second = (get_job(bench.engine, job_id).run_id for job_id in members)
    bench.attempt(first)
    bench.beat()
    runs.start_jobs(bench.engine, runs.begin_attempt(bench.engine, second, WORKER), {}, None)
    assert members[1] in problem(api.delete(path), 409, "illegal-transition")["detail"]
    with pytest.raises(IllegalTransition):
        delete_experiment(bench.engine, found["id"])
    assert len(list_members(bench.engine, found["id"])) == 2
    bench.attempt(second)
    set_alias(bench.engine, "champion", members[0], None)
    with pytest.raises(ModelInUse, match=members[0]):
        delete_experiment(bench.engine, found["id"])
    delete_alias(bench.engine, "champion", None)
    assert api.delete(path).json() == {"id": found["id"], "object": "experiment", "members": 2, "deleted": True}
    with pytest.raises(NotFound):
        get_experiment(bench.engine, found["id"])
    for job_id in members:
        with pytest.raises(NotFound):
            get_job(bench.engine, job_id)
        assert bench.artifacts.list_below(f"jobs/{job_id}") == []
    problem(api.delete(path), 404, "not-found")


def test_a_file_shrinks_when_its_rows_are_deleted(tmp_path: Any) -> None:
    file = tmp_path / "fanin.sqlite"
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    fill(engine)
    assert give_back(engine) > 8_000_000
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    assert file.stat().st_size < 3_000_000
    engine.dispose()


def test_a_file_of_an_older_version_is_prepared_once(tmp_path: Any) -> None:
    import sqlite3

    file = tmp_path / "fanin.sqlite"
    with sqlite3.connect(file) as old:
        old.execute("CREATE TABLE of_old (x)")
    engine = open_engine(f"sqlite:///{file}")
    fill(engine)
    assert give_back(engine) == 0
    prepare(engine)
    fill(engine)
    assert give_back(engine) > 8_000_000
    engine.dispose()


def fill(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS filler (x)"))
        for _ in range(100):
            connection.execute(text("INSERT INTO filler VALUES (zeroblob(100000))"))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM filler"))
