"""Runs of several jobs: trained side by side, each with its own end; and how experiments are divided into runs."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from typing import Any

import pytest
import torch
from sqlalchemy import select

import service.queue.grouping
from models.data.mnist import DataSet
from models.init.by_fans import HeNormal, XavierUniform
from models.init.constants import Zeros
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.progress import StepProgress
from models.spec import PRESETS, SGD, Adam, TrainSpec
from models.training.engine import STACKED
from models.training.kernel_library import kernel
from models.training.train import Training
from service.queue.grouping import JOBS_IN_TURNS, RUN_MEMORY_BYTES, RunLimits, divided
from service.store import runs, workers
from service.store.checkpoints import find_model, list_checkpoints
from service.store.events import events_after
from service.store.experiments import ExperimentRequest, list_members
from service.store.jobs import get_job, job_metrics
from service.store.queue_estimates import measured_speed
from service.store.tables import jobs as jobs_table
from service.store.workers import NewBeat
from service.training.context import FaultPoint
from service.training.run_attempt import RunAttempt
from tests.service.conftest import SMALL, Bench, die_at, undisturbed

DEEP = SMALL.architecture.model_copy(update={"hidden": (64, 64, 64)})
WILD = SMALL.model_copy(update={"architecture": DEEP, "optimizer": SGD(lr=10), "init": XavierUniform(gain=10)})
"""What diverges in its first epoch."""


def seeds(count: int, **changes: Any) -> list[TrainSpec]:
    return [SMALL.model_copy(update={"seed": seed} | changes) for seed in range(count)]


def submitted(bench: Bench, specs: list[TrainSpec], *, gpu: bool = True) -> tuple[list[str], list[str]]:
    """Submit an experiment while a GPU is there, or not; return the jobs, and the runs that they are in."""
    if gpu:
        workers.beat(bench.engine, NewBeat("gpu-machine:cuda-0", 1, "cuda", "a GPU", 1, None))
    experiment_id, _ = bench.queue.submit_experiment(ExperimentRequest(specs, None, {}))
    assert experiment_id is not None
    jobs = [member.job_id for member in list_members(bench.engine, experiment_id)]
    return jobs, [get_job(bench.engine, job_id).run_id for job_id in jobs]


def states(bench: Bench, jobs: list[str]) -> list[str]:
    return [get_job(bench.engine, job_id).state for job_id in jobs]


def test_an_experiment_is_one_run_where_a_gpu_lives_and_one_for_each_worker_elsewhere(bench: Bench) -> None:
    for name in ("one:cpu-0", "other:cpu-0"):
        workers.beat(bench.engine, NewBeat(name, 1, "cpu", "a CPU", 1, None))
    _, in_runs = submitted(bench, seeds(4), gpu=False)
    assert Counter(in_runs).most_common() == [(in_runs[0], 2), (in_runs[2], 2)]
    _, in_runs = submitted(bench, seeds(4))
    assert len(set(in_runs)) == 1


def test_on_a_cpu_jobs_take_turns_and_get_the_bits_that_they_have_alone(bench: Bench, few: DataSet) -> None:
    if kernel() is None:
        pytest.skip("no kernel: it needs a C compiler when installing Fanin")
    specs = seeds(3, epochs=3)
    jobs, in_runs = submitted(bench, specs, gpu=False)
    assert len(set(in_runs)) == 1
    bench.attempt(in_runs[0])
    weights = [find_model(bench.engine, job_id).checkpoint.weights_sha256 for job_id in jobs]
    assert weights == [undisturbed(few, spec) for spec in specs]
    epochs = [event.job_id for event in events_after(bench.engine, 0) if event.type == "job.epoch"]
    assert epochs == jobs * 3, "after each epoch of one comes one of each other"


def test_on_a_cpu_only_jobs_with_the_same_bits_alone_take_turns() -> None:
    tanh = SMALL.model_copy(update={"architecture": Architecture(hidden=(8,), activation="tanh")})
    timed = SMALL.model_copy(update={"max_seconds": 10.0})
    limits = RunLimits.on_cpus(jobs=6, workers=1)
    assert divided([SMALL, tanh, tanh, timed, timed, SMALL], limits) == [0, 1, 2, 3, 4, 0]
    assert divided([tanh, tanh], RunLimits(8)) == [0, 0]


def test_on_a_cpu_the_schemes_of_one_seed_share_a_run_before_the_next_seed() -> None:
    schemes = [SMALL.model_copy(update={"init": init}) for init in (Zeros(), HeNormal(), XavierUniform())]
    specs = [scheme.model_copy(update={"seed": seed}) for scheme in schemes for seed in (5, 3)]
    assert divided(specs, RunLimits.on_cpus(jobs=6, workers=2)) == [0, 1, 0, 1, 0, 1]


def test_before_anything_was_measured_long_jobs_have_runs_of_their_own(bench: Bench) -> None:
    _, in_runs = submitted(bench, seeds(2, epochs=10_000), gpu=False)
    assert len(set(in_runs)) == 2


def test_on_a_cpu_a_run_has_few_jobs_and_ends_within_a_minute() -> None:
    assert max(Counter(divided(seeds(20), RunLimits.on_cpus(20, 1))).values()) == JOBS_IN_TURNS
    assert divided(seeds(4), RunLimits.on_cpus(4, 1), lambda _spec: 25.0) == [0, 0, 1, 1]
    assert divided(seeds(2), RunLimits.on_cpus(2, 1), lambda _spec: 100.0) == [0, 1]


def test_members_that_cannot_be_trained_together_have_runs_of_their_own() -> None:
    deeper = SMALL.architecture.model_copy(update={"hidden": (8, 8)})
    other = SMALL.model_copy(update={"architecture": deeper})
    he = SMALL.model_copy(update={"init": HeNormal()})
    dbn = SMALL.model_copy(update={"init": Dbn(rbm_epochs=1)})
    assert divided([SMALL, other, he, dbn, SMALL, dbn], RunLimits(8)) == [0, 1, 0, 2, 0, 3]
    assert divided(seeds(5), RunLimits(2)) == [0, 0, 1, 1, 2]
    assert divided(seeds(2), RunLimits(1)) == [0, 1]


def test_no_more_jobs_come_into_a_run_than_fit_into_the_memory_of_a_small_gpu() -> None:
    wide = SMALL.model_copy(update={"architecture": Architecture(hidden=(2048, 2048, 2048))})
    in_runs = divided([wide.model_copy(update={"seed": seed}) for seed in range(40)], RunLimits(64))
    most = max(in_runs.count(run) for run in set(in_runs))
    assert 1 < most < 40
    assert most * wide.memory_bytes <= RUN_MEMORY_BYTES < (most + 1) * wide.memory_bytes
    assert (
        divided([PRESETS["mnist_nn_deep"].model_copy(update={"seed": seed}) for seed in range(64)], RunLimits(64))
        == [0] * 64
    )


def test_a_job_larger_than_that_has_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.queue.grouping, "RUN_MEMORY_BYTES", SMALL.memory_bytes - 1)
    assert divided(seeds(2), RunLimits(64)) == [0, 1]


def test_the_jobs_of_a_run_are_trained_side_by_side_each_to_its_own_model(bench: Bench, few: DataSet) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(3))
    bench.attempt(run_id)
    assert states(bench, jobs) == ["succeeded"] * 3
    for job_id, spec in zip(jobs, seeds(3), strict=True):
        assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2]
        # The kernel's members take turns, so that on a CPU each has the bits of a job of its own.
        engine = (get_job(bench.engine, job_id).pins or {})["engine"]
        if engine.startswith("sparse-kernel"):
            assert find_model(bench.engine, job_id).checkpoint.weights_sha256 == undisturbed(few, spec)


def test_a_job_that_diverges_fails_alone(bench: Bench) -> None:
    tame = [WILD.model_copy(update={"init": Zeros(), "seed": seed}) for seed in range(2)]
    jobs, (run_id, *_) = submitted(bench, [WILD, *tame])
    bench.attempt(run_id)
    assert states(bench, jobs) == ["failed", "succeeded", "succeeded"]
    error = get_job(bench.engine, jobs[0]).error
    assert error is not None
    assert error["type"] == "loss-not-finite"
    assert "in epoch 1, step " in error["detail"]


@pytest.mark.parametrize("same_bits", [True, False], ids=["kernel", "stacked"])
def test_jobs_that_go_on_without_one_of_them_say_that_bits_may_differ_if_their_products_are_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, same_bits: bool
) -> None:
    if same_bits and kernel() is None:
        pytest.skip("needs the compiled kernel: install a C compiler, then Fanin again")
    if not same_bits:
        monkeypatch.setattr("service.training.reproducibility.best_engine", lambda *_spec: STACKED)
    jobs, (run_id, *_) = submitted(bench, seeds(3))
    die_at(bench, run_id, "hand_over", 2)
    bench.apply_action(jobs[0], "cancel")
    bench.attempt(run_id)
    assert states(bench, jobs) == ["cancelled", "succeeded", "succeeded"]
    left = get_job(bench.engine, jobs[1])
    assert left.reproducible is same_bits
    assert same_bits or "jobs_side_by_side 3 -> 2" in (left.irreproducible_reason or "")


@pytest.mark.usefixtures("step_by_step")
def test_a_job_that_is_cancelled_leaves_the_others_training(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(3, epochs=3))
    original = RunAttempt._between_steps

    def cancel_at_first(self: RunAttempt, training: Any, progress: StepProgress) -> None:
        if (progress.epoch, progress.step) == (1, 2):
            bench.apply_action(jobs[1], "cancel")
            self._monitor._apply_pending_actions(runs.report_progress(bench.engine, self._attempt, {}))
        original(self, training, progress)
        if (progress.epoch, progress.step) == (1, 2):
            assert training.members == [0, 2]

    monkeypatch.setattr(RunAttempt, "_between_steps", cancel_at_first)
    bench.attempt(run_id)
    assert states(bench, jobs) == ["succeeded", "cancelled", "succeeded"]
    assert job_metrics(bench.engine, jobs[1]) == []


@pytest.mark.usefixtures("step_by_step")
def test_a_job_that_pauses_leaves_the_others_training(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(2, epochs=3))
    original = RunAttempt._between_steps

    def pause_at_first(self: RunAttempt, training: Any, progress: StepProgress) -> None:
        if (progress.epoch, progress.step) == (1, 2):
            bench.apply_action(jobs[0], "pause")
        original(self, training, progress)

    with monkeypatch.context() as patch:
        patch.setattr(RunAttempt, "_between_steps", pause_at_first)
        bench.attempt(run_id)
    assert states(bench, jobs) == ["paused", "succeeded"]
    resumed = bench.apply_action(jobs[0], "resume")
    assert resumed.run_id != run_id
    bench.attempt(resumed.run_id)
    assert states(bench, jobs) == ["succeeded", "succeeded"]
    assert [one.epoch for one in job_metrics(bench.engine, jobs[0])] == [1, 2, 3]


@pytest.mark.parametrize("call", [2, 3, 5, 6, 8, 9])  # three jobs a commit: of the start, then of each epoch
def test_a_worker_killed_between_two_jobs_commits_is_followed_by_one_that_ends_all(
    call: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.training.checkpoint_writer.JOBS_PER_COMMIT", 1)
    jobs, (run_id, *_) = submitted(bench, seeds(3, epochs=3))
    die_at(bench, run_id, "commit", call)
    ahead = [len(list_checkpoints(bench.engine, job_id)) for job_id in jobs]
    assert len(set(ahead)) == 2
    bench.attempt(run_id)
    assert states(bench, jobs) == ["succeeded"] * 3
    for job_id in jobs:
        assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2, 3]
        assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [0, 1, 2, 3]
    told = [event.job_id for event in events_after(bench.engine, 0) if event.type == "job.checkpoint_discarded"]
    assert told == [job_id for job_id, count in zip(jobs, ahead, strict=True) if count > min(ahead)]


# -- commits beside the training --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ActsLikeAGpu:
    """A CPU that attempts take for a GPU: commits do not come after every epoch."""

    torch_device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    name: str = "test"
    threads: int = 1
    kind: str = "cpu-like-a-gpu"
    total_memory_bytes: int | None = None


def test_commits_that_come_now_and_then_hold_every_epoch_in_the_end(bench: Bench) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(2, epochs=20))
    bench.attempt(run_id, device=ActsLikeAGpu())
    assert states(bench, jobs) == ["succeeded"] * 2
    for job_id in jobs:
        assert [one.epoch for one in job_metrics(bench.engine, job_id)] == list(range(1, 21))
        committed = [row.epoch for row in list_checkpoints(bench.engine, job_id)]
        assert committed[0] == 0
        assert committed[-1] == 20
        assert len(committed) < 21  # 20 epochs take less than the 0.5 s between two commits


def test_what_a_job_on_a_gpu_found_before_it_diverged_stays_until_a_retry_finds_it_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(1, epochs=6))
    original = Training.run_epoch

    def broken_in_epoch_5(self: Training, between_steps: Any) -> Any:
        if self.epoch == 4:
            self._step.parameters.values.fill_(float("nan"))
        return original(self, between_steps)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run_epoch", broken_in_epoch_5)
        bench.attempt(run_id, device=ActsLikeAGpu())
    assert states(bench, jobs) == ["failed"]
    assert [one.epoch for one in job_metrics(bench.engine, jobs[0])] == [1, 2, 3, 4]
    assert len(list_checkpoints(bench.engine, jobs[0])) < 5  # not each was committed in these milliseconds
    bench.apply_action(jobs[0], "retry")
    bench.attempt(get_job(bench.engine, jobs[0]).run_id, device=ActsLikeAGpu())
    assert states(bench, jobs) == ["succeeded"]
    assert [one.epoch for one in job_metrics(bench.engine, jobs[0])] == [1, 2, 3, 4, 5, 6]


def test_on_a_gpu_copies_that_take_long_are_made_seldom(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.training.run_attempt.GPU_COMMIT_INTERVAL_S", 0.0)
    epochs = {}
    for share in (1e6, 1e-6):
        monkeypatch.setattr("service.training.run_attempt.GPU_COMMIT_SHARE", share)
        jobs, (run_id, *_) = submitted(bench, seeds(2, epochs=200))
        bench.attempt(run_id, device=ActsLikeAGpu())
        assert states(bench, jobs) == ["succeeded"] * 2
        epochs[share] = [row.epoch for row in list_checkpoints(bench.engine, jobs[0])]
    assert len(epochs[1e-6]) <= 3, "more than one commit between start and end, whose cost is then known"
    assert len(epochs[1e6]) > 3


def test_training_goes_on_while_a_commit_is_written(bench: Bench) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(1, epochs=4))
    trained, seen = threading.Event(), Counter[FaultPoint]()

    def hook(point: FaultPoint) -> None:
        seen[point] += 1
        if point == "hand_over" and seen[point] == 3:  # after the starting weights and epoch 1: epoch 2 is trained
            trained.set()
        if point == "write_files" and seen[point] == 2:
            assert trained.wait(20)

    bench.attempt(run_id, fault_hook=hook)
    assert states(bench, jobs) == ["succeeded"]
    assert [one.epoch for one in job_metrics(bench.engine, jobs[0])] == [1, 2, 3, 4]


def test_a_job_that_diverges_keeps_what_was_being_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, (run_id, *_) = submitted(bench, [WILD])
    trained, diverged = Training.run_epoch, threading.Event()

    def after_the_epoch(point: FaultPoint) -> None:
        assert point != "write_files" or diverged.wait(20)

    def noting(self: Training, between_steps: Any) -> Any:
        try:
            return trained(self, between_steps)
        finally:
            diverged.set()

    monkeypatch.setattr(Training, "run_epoch", noting)
    bench.attempt(run_id, fault_hook=after_the_epoch)
    assert states(bench, jobs) == ["failed"]
    assert [row.epoch for row in list_checkpoints(bench.engine, jobs[0])] == [0]


def test_what_writing_beside_raises_ends_the_run(bench: Bench) -> None:
    jobs, (run_id, *_) = submitted(bench, seeds(2, epochs=3))

    def no_space(point: FaultPoint) -> None:
        if point == "write_files":
            raise OSError(28, "No space left on device")

    bench.attempt(run_id, fault_hook=no_space)
    assert states(bench, jobs) == ["failed", "failed"]
    error = get_job(bench.engine, jobs[0]).error
    assert error is not None
    assert error["type"] == "storage"


def test_the_files_of_many_jobs_are_committed_in_groups_and_none_is_lost_between_two(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.training.checkpoint_writer.JOBS_PER_COMMIT", 2)
    jobs, (run_id, *_) = submitted(bench, seeds(5, epochs=2))
    die_at(bench, run_id, "commit", 5)  # three groups of the starting weights, then the second one of epoch 1
    assert [len(list_checkpoints(bench.engine, job_id)) for job_id in jobs] == [2, 2, 1, 1, 1]
    bench.attempt(run_id)
    assert states(bench, jobs) == ["succeeded"] * 5
    for job_id in jobs:
        assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2]


def test_checkpoints_too_large_to_be_in_memory_together_are_committed_one_by_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.training.checkpoint_writer.BYTES_PER_COMMIT", 1)
    commits = Counter[FaultPoint]()
    jobs, (run_id, *_) = submitted(bench, seeds(3, epochs=1))
    bench.attempt(run_id, fault_hook=lambda point: commits.update([point]))
    assert states(bench, jobs) == ["succeeded"] * 3
    assert commits["commit"] == commits["write_files"] == 6


PATIENT = {"validation_images": 100, "patience": 2, "epochs": 60, "optimizer": Adam(lr=0.02)}


@pytest.mark.parametrize("gpu", [False, True])
def test_jobs_out_of_patience_end_each_in_its_own_epoch_and_the_others_go_on(gpu: bool, bench: Bench) -> None:
    specs = [*seeds(3, **PATIENT), SMALL.model_copy(update=PATIENT | {"init": Zeros()})]
    jobs, (run_id, *_) = submitted(bench, specs)
    bench.attempt(run_id, device=ActsLikeAGpu() if gpu else bench.device)
    assert states(bench, jobs) == ["succeeded"] * 4
    epochs = []
    for job_id in jobs:
        losses = [one.validation_loss or 0.0 for one in job_metrics(bench.engine, job_id)]
        assert losses.index(min(losses)) == len(losses) - 3
        last = list_checkpoints(bench.engine, job_id)[-1]
        assert (last.epoch, last.final) == (len(losses), True)
        epochs.append(len(losses))
    assert len(set(epochs)) > 1
    assert max(epochs) < 60


def test_patience_survives_a_worker_that_is_killed_while_it_lasts(bench: Bench) -> None:
    (whole,), (run_id, *_) = submitted(bench, seeds(1, **PATIENT))
    bench.attempt(run_id)
    expected = list_checkpoints(bench.engine, whole)[-1]
    (killed,), (run_id, *_) = submitted(bench, seeds(1, **PATIENT))
    die_at(bench, run_id, "commit", expected.epoch + 1)  # of the last epoch: the best one is two before it
    assert list_checkpoints(bench.engine, killed)[-1].epoch == expected.epoch - 1
    bench.attempt(run_id)
    found = list_checkpoints(bench.engine, killed)[-1]
    assert (found.epoch, found.final, found.weights_sha256) == (expected.epoch, True, expected.weights_sha256)
    progress = get_job(bench.engine, killed).progress or {}
    assert (progress["percent"], progress["time_left_s"]) == (100.0, 0.0)


def test_jobs_that_ran_out_of_patience_are_not_taken_for_fast_ones(bench: Bench) -> None:
    (job_id,), (run_id, *_) = submitted(bench, seeds(1, **PATIENT))
    bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert job.epoch < job.spec.epochs
    with bench.engine.connect() as connection:
        measured = measured_speed(connection)
        seconds = connection.execute(select(jobs_table.c.ended_at - jobs_table.c.started_at)).scalar_one()
    last = job_metrics(bench.engine, job_id)[-1].duration_s
    assert measured is not None
    assert measured.work_per_s == pytest.approx(job.spec.epoch_work / last)
    assert measured.fixed_s == pytest.approx(max(0.0, seconds - job.epoch * last))
