from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, select, text

from service.errors import DatabaseNotReady, IllegalTransition, NotFound
from service.queue.submission import Queue
from service.settings import Settings
from service.store import jobs as job_store
from service.store.checkpoints import find_model, list_models
from service.store.engine import now, open_engine, writing
from service.store.events import append_event, events_after, last_event_id
from service.store.job_lists import JobFilter, list_jobs
from service.store.jobs import get_job
from service.store.migration import migrate, require_tables
from service.store.tables import jobs, metadata
from tests.service.conftest import SMALL, TTL_S, Bench


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'new' / 'fanin.sqlite'}")
    yield engine
    engine.dispose()


def test_migrations_make_the_tables_that_the_code_expects(empty: Engine) -> None:
    with pytest.raises(DatabaseNotReady, match="fanin migrate"):
        require_tables(empty)
    migrate(empty)
    migrate(empty)
    require_tables(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_clock_is_the_databases_in_seconds_since_1970(engine: Engine) -> None:
    with engine.connect() as connection:
        assert float(connection.execute(select(now())).scalar_one()) == pytest.approx(time.time(), abs=5)


def test_an_older_sqlite_is_given_the_seconds_that_the_queue_asks_it_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.engine.SQLITE_WITH_SUBSECONDS", (99, 0, 0))
    engine = open_engine(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER, at REAL NOT NULL DEFAULT (unixepoch('subsec') * 1000))"))
        connection.execute(text("INSERT INTO t (x) VALUES (1)"))
        assert connection.execute(text("SELECT at FROM t")).scalar_one() == pytest.approx(time.time() * 1000, abs=5000)
    engine.dispose()


def test_sqlite_writers_wait_for_each_other_and_readers_do_not(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    with writing(engine) as connection:
        connection.execute(text("UPDATE counters SET value = 7"))
        assert last_event_id(engine) == 0
    assert last_event_id(engine) == 7


def test_what_a_transaction_read_still_holds_when_it_writes(engine: Engine) -> None:
    def count_one(_number: int) -> None:
        with writing(engine) as connection:
            value = connection.execute(text("SELECT value FROM counters")).scalar_one()
            time.sleep(0.001)  # time for another to come between, if one could
            connection.execute(text("UPDATE counters SET value = :value"), {"value": value + 1})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_one, range(40)))
    assert last_event_id(engine) == 40


def test_a_job_and_its_queue_entry_are_there_together_or_not_at_all(bench: Bench, engine: Engine) -> None:
    def count(table: str) -> int:
        with engine.connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    job_id, run_id = bench.submit()
    assert (count("jobs"), count("runs"), count("workflow_status")) == (1, 1, 1)
    assert get_job(engine, job_id).run_id == run_id

    class Broken(Queue):
        def _connected(self) -> object:  # type: ignore[override]
            raise ConnectionError

    with pytest.raises(ConnectionError):
        Broken(engine, 10, TTL_S, 1).submit(job_store.JobRequest(SMALL))
    with suppress(RuntimeError), writing(engine) as connection:
        job_store.insert_job(connection, job_store.JobRequest(SMALL))
        raise RuntimeError
    assert (count("jobs"), count("runs"), count("workflow_status"), count("events")) == (1, 1, 1, 1)


def test_what_travels_through_the_queue_is_json(bench: Bench, engine: Engine) -> None:
    _, run_id = bench.submit()
    with engine.connect() as connection:
        inputs = connection.execute(text("SELECT inputs FROM workflow_input")).scalar_one()
    assert json.loads(inputs) == {"positionalArgs": [run_id], "namedArgs": {}}


def test_event_ids_become_visible_in_order_however_many_write(bench: Bench, engine: Engine) -> None:
    job_id, _ = bench.submit()
    seen: list[int] = []
    stop = threading.Event()

    def follow() -> None:
        while not stop.is_set():
            last = seen[-1] if seen else 0
            seen.extend(event.id for event in events_after(engine, last))

    def write(_number: int) -> None:
        with writing(engine) as connection:
            append_event(connection, job_id, "job.epoch")

    reader = threading.Thread(target=follow)
    reader.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(24)))
    stop.set()
    reader.join()
    seen.extend(event.id for event in events_after(engine, seen[-1]))
    assert seen == list(range(1, 26))


def test_jobs_are_listed_newest_first_by_state_and_scheme(bench: Bench, engine: Engine) -> None:
    from models.init.by_fans import HeNormal

    first, second, third = (
        bench.submit(spec)[0] for spec in (SMALL, SMALL.model_copy(update={"init": HeNormal()}), SMALL)
    )
    bench.apply_action(third, "cancel")

    def found(wanted: JobFilter | None = None, **page: Any) -> list[str]:
        return [job.id for job in list_jobs(engine, wanted, **page)]

    assert found() == [third, second, first]
    assert found(limit=1) == [third]
    assert found(after=third) == [second, first]
    assert found(JobFilter(["queued"])) == [second, first]
    assert found(JobFilter(["queued", "cancelled"], "he_normal")) == [second]


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_what_has_ended_cannot_be_cancelled(state: str, bench: Bench, engine: Engine) -> None:
    job_id, _ = bench.submit()
    with writing(engine) as connection:
        connection.execute(jobs.update().values(state=state))
    with pytest.raises(IllegalTransition, match=f"is {state}"):
        bench.apply_action(job_id, "cancel")


def test_cancelling_twice_changes_nothing(bench: Bench, engine: Engine) -> None:
    job_id, _ = bench.submit()
    assert bench.apply_action(job_id, "cancel") == bench.apply_action(job_id, "cancel")
    assert [event.type for event in events_after(engine, 0)] == ["job.queued", "job.cancelled"]


def test_fifty_cancels_at_once_are_one(bench: Bench, engine: Engine) -> None:
    job_id, _ = bench.submit()
    with ThreadPoolExecutor(8) as pool:
        states = [job.state for job in pool.map(lambda _: bench.apply_action(job_id, "cancel"), range(50))]
    assert set(states) == {"cancelled"}
    assert [event.type for event in events_after(engine, 0)] == ["job.queued", "job.cancelled"]


def test_models_are_found_by_job_epoch_and_latest(bench: Bench, engine: Engine) -> None:
    first, second = bench.trained(), bench.trained()
    assert find_model(engine, "latest").checkpoint.job_id == second
    assert find_model(engine, first).checkpoint.epoch == 2
    assert find_model(engine, f"{first}@0").checkpoint.epoch == 0
    assert find_model(engine, "latest@1").checkpoint.job_id == second
    assert [row.checkpoint.job_id for row in list_models(engine, after=None, limit=5)] == [second, first]
    assert [row.checkpoint.job_id for row in list_models(engine, after=second, limit=5)] == [first]


@pytest.mark.parametrize("name", ["latest", "job_x", "job_x@0", "@", "job_x@", "job_x@-1", "job_x@1e3", "job_x@²"])
def test_what_names_no_model_is_not_found(name: str, engine: Engine) -> None:
    with pytest.raises(NotFound):
        find_model(engine, name)


def test_a_missing_job_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFound, match="GET /jobs lists"):
        get_job(engine, "job_x")


def test_opening_creates_the_folder(settings: Settings) -> None:
    assert (settings.home / "fanin.sqlite").is_file()
