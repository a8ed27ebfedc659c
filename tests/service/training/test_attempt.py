"""Attempts at runs, on a real database and real files, in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select, update

from benchmarks.machines import wait_until
from models.checkpoint import decode
from models.data.mnist import DataSet
from models.errors import Interrupted
from models.spec import SGD
from models.training.train import Training
from service.errors import Fenced, NotFound
from service.store import commits, runs
from service.store.aliases import set_alias
from service.store.attempts import Attempt
from service.store.checkpoints import NewCheckpoint, find_model, list_checkpoints
from service.store.commits import CheckpointCommit
from service.store.engine import writing
from service.store.epoch_records import EpochRecords
from service.store.events import events_after
from service.store.jobs import get_job, job_metrics
from service.store.tables import jobs
from service.store.tables import runs as runs_table
from service.training import monitor as watch_module
from service.training.context import FaultPoint
from service.training.monitor import TrainingMonitor
from service.training.reproducibility import pinned
from service.training.run_attempt import RunAttempt
from tests.service.conftest import SMALL, WORKER, Bench, die_at, undisturbed


def kinds(bench: Bench, job_id: str) -> list[str]:
    return [event.type for event in events_after(bench.engine, 0, job_ids=[job_id])]


def test_a_job_succeeds_with_checkpoints_metrics_and_evaluation(bench: Bench) -> None:
    job_id = bench.trained()
    job = get_job(bench.engine, job_id)
    assert (job.state, job.epoch, job.attempt, job.error) == ("succeeded", 2, 1, None)
    assert job.pins is not None
    assert job.pins["data"] == "mnist_5k"
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [0, 1, 2]
    assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2]
    model = find_model(bench.engine, "latest").checkpoint
    assert (model.job_id, model.final) == (job_id, True)
    assert model.evaluation is not None
    assert model.evaluation.n == 200
    assert model.weights_sha256 == undisturbed(bench.data)
    assert kinds(bench, job_id) == [
        "job.queued",
        "job.running",
        "job.checkpoint",
        "job.epoch",
        "job.checkpoint",
        "job.epoch",
        "job.checkpoint",
        "job.succeeded",
    ]


def test_every_committed_file_holds_what_its_row_says(bench: Bench) -> None:
    for row in list_checkpoints(bench.engine, bench.trained()):
        checkpoint = decode(bench.artifacts.read(row.weights_path, row.weights_file_sha256))
        assert checkpoint.metadata.epoch == row.epoch
        assert checkpoint.metadata.weights_sha256 == row.weights_sha256
        assert checkpoint.metadata.spec == SMALL


@pytest.mark.parametrize("point", ["between_steps", "write_files", "commit"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_worker_killed_anywhere_is_followed_by_one_that_ends_with_the_same_bits(
    point: FaultPoint, call: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, point, call)
    assert get_job(bench.engine, job_id).state in {"running", "succeeded"}
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.reproducible) == ("succeeded", True)
    assert find_model(bench.engine, job_id).checkpoint.weights_sha256 == undisturbed(bench.data)
    assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2]
    assert kinds(bench, job_id).count("job.succeeded") == 1


def test_a_killed_training_by_sgd_without_momentum_goes_on_where_it_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"optimizer": SGD(), "epochs": 3}))
    die_at(bench, run_id, "commit", 4)
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"
    assert [row.attempt for row in list_checkpoints(bench.engine, job_id)] == [1, 1, 1, 2]


def test_an_older_attempt_can_commit_nothing(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    old = runs.begin_attempt(bench.engine, run_id, "old")
    runs.start_jobs(bench.engine, old, pinned(old, bench.data, bench.device)[0], None)
    bench.attempt(run_id)
    before = list_checkpoints(bench.engine, job_id)
    checkpoint = NewCheckpoint("train", 1, False, "x", 1, "x", "x", None, None)
    for write in (
        lambda: commits.commit_checkpoints(
            bench.engine, old, [CheckpointCommit(old, job_id, checkpoint, EpochRecords())]
        ),
        lambda: runs.note_error(bench.engine, old, {}),
        lambda: runs.end_job(bench.engine, old, job_id, "failed", {}),
        lambda: runs.report_progress(bench.engine, old, {}),
        lambda: commits.discard_checkpoint(bench.engine, old, before[0], ""),
        lambda: runs.forget_epochs_after(bench.engine, old, 0),
    ):
        with pytest.raises(Fenced):
            write()
    assert list_checkpoints(bench.engine, job_id) == before
    assert get_job(bench.engine, job_id).state == "succeeded"


def test_a_run_delivered_again_after_its_end_changes_nothing(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    bench.attempt(run_id)
    before = get_job(bench.engine, job_id)
    bench.attempt(run_id)
    after = get_job(bench.engine, job_id)
    assert dataclasses.replace(after, attempt=before.attempt) == before


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 4}))
    die_at(bench, run_id, "commit", 4)
    damaged = list_checkpoints(bench.engine, job_id)[-1]
    assert damaged.epoch == 2
    bench.artifacts.delete(damaged.weights_path)
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"
    assert "job.checkpoint_damaged" in kinds(bench, job_id)
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [0, 1, 2, 3, 4]
    assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2, 3, 4]


@pytest.mark.parametrize("lost", [[2], [1, 2]])
def test_a_lost_optimizer_state_costs_no_weights_and_ends_with_the_same_bits(
    lost: list[int], bench: Bench, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SMALL.model_copy(update={"epochs": 4})
    job_id, run_id = bench.submit(spec)
    die_at(bench, run_id, "commit", 4)
    for row in list_checkpoints(bench.engine, job_id):
        if row.epoch in lost:
            assert row.resume_path is not None
            bench.artifacts.delete(row.resume_path)
    before = {row.epoch: row for row in list_checkpoints(bench.engine, job_id)}
    die_at(bench, run_id, "commit", 1)
    after = {row.epoch: row for row in list_checkpoints(bench.engine, job_id)}
    assert after.keys() == before.keys() == {0, 1, 2}
    for epoch, row in after.items():
        assert row.weights_path == before[epoch].weights_path
        bench.artifacts.read(row.weights_path, row.weights_file_sha256)
    told = [event for event in events_after(bench.engine, 0, job_ids=[job_id]) if "damaged" in event.type]
    assert [event.data["epoch"] for event in told] == lost[::-1]
    assert {event.data["weights"] for event in told} == {"kept"}
    bench.attempt(run_id)
    rows = list_checkpoints(bench.engine, job_id)
    assert [row.epoch for row in rows] == [0, *range(1, 5)]
    assert rows[-1].weights_sha256 == undisturbed(few, spec)
    files = set(bench.artifacts.list_below(f"jobs/{job_id}"))
    assert {row.weights_path for row in rows} <= files
    assert not {before[epoch].weights_path for epoch in lost} & files, "of epochs that were trained again"


def test_a_checkpoint_that_an_alias_names_outlives_its_damage_and_its_repetition(bench: Bench) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 4}))
    die_at(bench, run_id, "commit", 4)
    set_alias(bench.engine, "champion", f"{job_id}@2", None)
    named = find_model(bench.engine, "champion").checkpoint
    assert named.resume_path is not None
    bench.artifacts.delete(named.resume_path)
    content = bench.artifacts.read(named.weights_path, named.weights_file_sha256)
    bench.artifacts.delete(named.weights_path)
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "succeeded"
    kept = find_model(bench.engine, "champion").checkpoint
    assert (kept.seq, kept.weights_path) == (named.seq, named.weights_path)
    bench.artifacts.write(named.weights_path, content)  # it comes back from a backup
    again = find_model(bench.engine, f"{job_id}@2").checkpoint
    assert again.seq > kept.seq
    assert again.weights_sha256 == kept.weights_sha256


def test_only_the_last_two_resume_files_are_kept_and_none_after_the_final_epoch(bench: Bench) -> None:
    spec = SMALL.model_copy(update={"epochs": 5})
    stopped, run_id = bench.submit(spec)
    die_at(bench, run_id, "commit", 5)
    rows = list_checkpoints(bench.engine, stopped)
    assert [row.epoch for row in rows if row.resume_path] == [rows[-2].epoch, rows[-1].epoch]
    job_id = bench.trained(spec)
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id) if row.resume_path] == []
    files = bench.artifacts.list_below(f"jobs/{job_id}")
    assert sum("resume" in name for name in files) == 0
    assert sum("weights" in name for name in files) == 6


def test_a_job_cancelled_while_it_waits_is_never_trained(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    assert bench.apply_action(job_id, "cancel").state == "cancelled"
    bench.attempt(run_id)
    assert kinds(bench, job_id) == ["job.queued", "job.cancelled"]
    with pytest.raises(NotFound):
        find_model(bench.engine, job_id)


def test_a_job_cancelled_while_it_runs_stops_soon_and_keeps_its_checkpoints(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "WATCH_INTERVAL_S", 0.02)
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 10_000}))
    original = RunAttempt._commit

    def cancel_after_two(self: RunAttempt, training: Training) -> None:
        original(self, training)
        if training.epoch == 3:  # by now epoch 2 is committed, and epoch 3 is being written
            assert bench.apply_action(job_id, "cancel").state == "cancelling"

    monkeypatch.setattr(RunAttempt, "_commit", cancel_after_two)
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert job.state == "cancelled"
    assert job.ended_at is not None
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)][:3] == [0, 1, 2]
    assert kinds(bench, job_id)[-3:] == ["job.cancelling", "job.cancelled", "job.released"]


def test_cancelling_and_a_dead_worker_end_in_cancelled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "between_steps", 3)
    bench.apply_action(job_id, "cancel")
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "cancelled"


def test_a_checkpoint_of_a_job_that_is_being_cancelled_is_not_committed(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    bench.beat()
    attempt = runs.begin_attempt(bench.engine, run_id, WORKER)
    runs.start_jobs(bench.engine, attempt, {}, None)
    bench.apply_action(job_id, "cancel")
    checkpoint = NewCheckpoint("train", 2, True, "x", 1, "x", "x", None, None)
    commit = CheckpointCommit(attempt, job_id, checkpoint, EpochRecords())
    assert commits.commit_checkpoints(bench.engine, attempt, [commit]) == [("cancelling", False, ["x"], False)]
    assert list_checkpoints(bench.engine, job_id) == []
    assert get_job(bench.engine, job_id).state == "cancelling"


def test_another_torch_or_processor_goes_on_but_says_that_bits_may_differ(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit()
    die_at(bench, run_id, "between_steps", 3)
    with writing(bench.engine) as connection:
        pins = connection.execute(select(runs_table.c.pins)).scalar_one()
        connection.execute(update(runs_table).values(pins=pins | {"torch": "2.11.0", "device_name": "another"}))
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.reproducible) == ("succeeded", False)
    assert job.irreproducible_reason is not None
    assert "torch 2.11.0 ->" in job.irreproducible_reason
    assert "device_name another -> test" in job.irreproducible_reason


def test_progress_is_written_beside_the_training(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "WATCH_INTERVAL_S", 0.01)
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 50}))
    bench.attempt(run_id)
    progress = get_job(bench.engine, job_id).progress
    assert progress is not None
    assert progress["epochs"] == 50
    assert 0 < progress["percent"] <= 100
    assert progress["images_per_s"] > 0


def test_a_job_shows_that_it_is_being_prepared_until_its_first_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "WATCH_INTERVAL_S", 0.01)
    job_id, run_id = bench.submit()
    shown: dict[str, Any] = {}

    def wait_for_progress(point: FaultPoint) -> None:
        if point == "hand_over" and not shown:
            shown.update(wait_until(lambda: get_job(bench.engine, job_id).progress, what="progress"))

    bench.attempt(run_id, fault_hook=wait_for_progress)
    assert (shown["phase"], shown["epoch"], shown["step"], shown["time_left_s"]) == ("prepare", 1, 0, None)
    assert (get_job(bench.engine, job_id).progress or {}).get("phase", "train") == "train"


def test_a_second_pair_of_hands_takes_over_while_the_first_sleeps(bench: Bench) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 4}))

    def sleep_through(point: FaultPoint) -> None:
        if point == "write_files":
            bench.attempt(run_id, "second")

    bench.attempt(run_id, "first", fault_hook=sleep_through)
    with bench.engine.connect() as connection:
        assert connection.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar_one() == "succeeded"
    assert {row.attempt for row in list_checkpoints(bench.engine, job_id)} == {2}


def test_a_run_without_rows_is_left_alone(bench: Bench) -> None:
    bench.attempt("run_x")
    assert events_after(bench.engine, 0) == []


def test_a_job_cancelled_at_the_very_end_is_cancelled(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    written = 0

    def cancel_before_the_last(point: FaultPoint) -> None:
        nonlocal written
        written += point == "write_files"
        if point == "write_files" and written == SMALL.epochs + 1:
            bench.apply_action(job_id, "cancel")

    bench.attempt(run_id, fault_hook=cancel_before_the_last)
    assert get_job(bench.engine, job_id).state == "cancelled"
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [0, 1]
    assert len(list((Path(bench.artifacts.where) / "jobs" / job_id).rglob("*.weights.*"))) == 2


def test_only_the_newest_checkpoints_are_kept_where_the_settings_say_so(bench: Bench) -> None:
    job_id, run_id = bench.submit(SMALL.model_copy(update={"epochs": 5}))
    bench.attempt(run_id, checkpoints_kept=2)
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [4, 5]
    assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2, 3, 4, 5]
    assert len(bench.artifacts.list_below(f"jobs/{job_id}")) == 2


@pytest.mark.usefixtures("uncollected")
def test_a_training_that_nobody_wants_any_more_gives_its_memory_back(bench: Bench, few: DataSet) -> None:
    def stops_when_unwanted() -> weakref.ref[Training]:
        training = Training([SMALL], few, torch.device("cpu"))
        monitor = TrainingMonitor(bench.engine, Attempt("run_1", 1, 0, None, ()), 1.0, lambda: None)
        monitor._unwanted = Interrupted("No job of the run is left to train.")
        with contextlib.suppress(Interrupted):
            training.run_epoch(lambda _progress: monitor.raise_if_unwanted())
        return weakref.ref(training)

    assert stops_when_unwanted()() is None
