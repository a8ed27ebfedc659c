"""What may be asked of a job, from which state, and what comes of it; with workers that live, die and wake up."""

from __future__ import annotations

import dataclasses
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest
from sqlalchemy import func, select, text, update

from models.training.train import Training
from service.artifacts.layout import attempt_folder
from service.errors import Fenced, IllegalTransition, KeyReused, NotFound, QueueFull
from service.queue import engine as queue_module
from service.queue.submission import Once, Queue
from service.store import commits, runs, workers
from service.store.checkpoints import NewCheckpoint, find_model, list_checkpoints
from service.store.commits import CheckpointCommit
from service.store.engine import writing
from service.store.epoch_records import EpochRecords
from service.store.events import events_after
from service.store.job_transitions import RULES, JobAction, delete_job
from service.store.jobs import JobRequest, JobState, get_job, job_metrics
from service.store.tables import jobs
from service.store.workers import NewBeat
from service.training.cleanup import Sweep
from service.training.heartbeat import Heartbeat
from service.training.run_attempt import RunAttempt
from tests.service.conftest import SMALL, TTL_S, WORKER, Bench, undisturbed

LONG = SMALL.model_copy(update={"epochs": 4})


def set_state(bench: Bench, state: JobState) -> None:
    with writing(bench.engine) as connection:
        connection.execute(jobs.update().values(state=state))


def after_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int, act: object) -> None:
    """Act when an epoch is trained and not yet handed over, and all before it have been committed."""
    original = RunAttempt._commit

    def acting(self: RunAttempt, training: Training) -> None:
        if training.epoch == epoch:
            self._stop_training(training, self._writer.wait())
            act()  # type: ignore[operator]
        original(self, training)

    monkeypatch.setattr(RunAttempt, "_commit", acting)


@pytest.mark.parametrize("state", get_args(JobState))
@pytest.mark.parametrize("action", get_args(JobAction))
def test_every_wish_in_every_state_is_granted_or_refused_by_the_table(
    action: JobAction, state: JobState, bench: Bench
) -> None:
    job_id, run_id = bench.submit()
    bench.beat()
    runs.begin_attempt(bench.engine, run_id, WORKER)
    set_state(bench, state)
    rule = RULES[action]
    if state in rule.settled_in:
        assert bench.apply_action(job_id, action).state == state
    elif state in rule.leads_to:
        assert bench.apply_action(job_id, action).state == rule.leads_to[state]
    else:
        with pytest.raises(IllegalTransition, match=f"is {state}"):
            bench.apply_action(job_id, action)


def test_a_paused_and_resumed_job_ends_with_the_bits_of_one_that_never_paused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit(LONG)
    with monkeypatch.context() as patch:
        after_epoch(patch, 2, lambda: bench.apply_action(job_id, "pause"))
        bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.epoch, job.ended_at) == ("paused", 2, None)
    resumed = bench.apply_action(job_id, "resume")
    assert resumed.state == "queued"
    assert resumed.run_id != run_id
    bench.attempt(run_id)  # the old run may be delivered again: there is nothing in it
    bench.attempt(resumed.run_id)
    job = get_job(bench.engine, job_id)
    assert (job.state, job.attempt, job.reproducible) == ("succeeded", 2, True)
    assert [one.epoch for one in job_metrics(bench.engine, job_id)] == [1, 2, 3, 4]
    assert find_model(bench.engine, job_id).checkpoint.weights_sha256 == undisturbed(bench.data, LONG)


def test_a_failed_job_is_retried_from_its_last_checkpoint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    job_id, run_id = bench.submit(LONG)
    with monkeypatch.context() as patch:
        after_epoch(patch, 3, full)
        bench.attempt(run_id)
    job = get_job(bench.engine, job_id)
    assert job.error is not None
    assert (job.state, job.error["type"]) == ("failed", "storage")
    retried = bench.apply_action(job_id, "retry")
    assert (retried.state, retried.error, retried.ended_at) == ("queued", None, None)
    bench.attempt(retried.run_id)
    assert [row.attempt for row in list_checkpoints(bench.engine, job_id)] == [1, 1, 1, 2, 2]
    assert find_model(bench.engine, job_id).checkpoint.weights_sha256 == undisturbed(bench.data, LONG)


def test_a_worker_that_wakes_up_after_its_job_was_paused_and_resumed_commits_nothing(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    asleep = runs.begin_attempt(bench.engine, run_id, "dead:cpu-0")
    runs.start_jobs(bench.engine, asleep, {}, None)
    assert bench.apply_action(job_id, "pause").state == "paused"  # its worker is not alive, so at once
    resumed = bench.apply_action(job_id, "resume")
    bench.beat()
    awake = runs.begin_attempt(bench.engine, resumed.run_id, WORKER)
    runs.start_jobs(bench.engine, awake, {}, None)
    checkpoint = NewCheckpoint("train", 0, False, "x", 1, "x", "x", None, None)
    with pytest.raises(Fenced):
        commits.commit_checkpoints(bench.engine, asleep, [CheckpointCommit(asleep, job_id, checkpoint, EpochRecords())])
    with pytest.raises(Fenced):
        runs.end_job(bench.engine, asleep, job_id, "failed", {})
    assert list_checkpoints(bench.engine, job_id) == []
    assert get_job(bench.engine, job_id).state == "running"


def test_a_dead_workers_wishes_are_granted_at_once(bench: Bench) -> None:
    job_id, run_id = bench.submit()
    runs.start_jobs(bench.engine, runs.begin_attempt(bench.engine, run_id, "dead:cpu-0"), {}, None)
    assert bench.apply_action(job_id, "cancel").state == "cancelled"
    assert get_job(bench.engine, job_id).ended_at is not None


def test_the_reaper_finishes_what_a_dead_workers_owner_asked_for(bench: Bench) -> None:
    cancelled, paused = bench.submit(), bench.submit()
    for _job_id, run_id in (cancelled, paused):
        bench.beat("soon-dead:cpu-0")
        runs.start_jobs(bench.engine, runs.begin_attempt(bench.engine, run_id, "soon-dead:cpu-0"), {}, None)
    bench.apply_action(cancelled[0], "cancel")
    bench.apply_action(paused[0], "pause")
    assert [get_job(bench.engine, job_id).state for job_id, _ in (cancelled, paused)] == ["cancelling", "pausing"]
    runs.apply_pending_actions_of(bench.engine, ["soon-dead:cpu-0"])
    assert [get_job(bench.engine, job_id).state for job_id, _ in (cancelled, paused)] == ["cancelled", "paused"]


class FakeDeliveries:
    """Runs that workers have taken, and what was done about them."""

    def __init__(self, taken: dict[str, str]) -> None:
        self._taken = taken
        self.handed_on: list[str] = []
        self.handed_back: list[str] = []

    def taken(self) -> dict[str, str]:
        return self._taken

    def hand_on(self, names: list[str]) -> None:
        self.handed_on += names

    def hand_back(self, run_id: str) -> None:
        self.handed_back.append(run_id)


def heartbeat(bench: Bench, deliveries: FakeDeliveries, ttl_s: float) -> Heartbeat:
    me = NewBeat("me:cpu-0", 1, "cpu", "x", 1, "run_now")
    return Heartbeat(bench.engine, ttl_s, lambda: me, lambda: None, deliveries)  # type: ignore[arg-type]


def test_a_reaper_hands_on_the_runs_of_the_silent_and_leaves_those_of_the_living(bench: Bench) -> None:
    bench.beat("living:cpu-0")
    deliveries = FakeDeliveries({"run_a": "silent:cpu-0", "run_b": "living:cpu-0", "run_now": "me:cpu-0"})
    heartbeat(bench, deliveries, TTL_S).reap()
    assert deliveries.handed_on == ["silent:cpu-0"]
    assert deliveries.handed_back == []


def test_a_run_that_was_delivered_and_got_lost_is_handed_back_at_the_second_look(bench: Bench) -> None:
    deliveries = FakeDeliveries({"run_lost": "me:cpu-0", "run_now": "me:cpu-0"})
    mine = heartbeat(bench, deliveries, TTL_S)
    mine.reap()
    assert deliveries.handed_back == []
    mine.reap()
    assert deliveries.handed_back == ["run_lost"]


def test_a_reaper_judges_others_only_after_a_lifetime_without_a_gap_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(workers, "beat", lambda _engine, _new: clock[0])
    mine = heartbeat(bench, FakeDeliveries({}), 20.0)
    verdicts = []
    for pause in (
        0,
        5,
        5,
        5,
        5,
        30,
        5,
        5,
        5,
        5,
        -3600,
        5,
        5,
        5,
        5,
    ):  # 30 s: the database was away; then its clock goes back
        clock[0] += pause
        verdicts.append(mine.beat())
    assert verdicts == [False, False, False, False, True] * 3


def test_a_heartbeat_of_another_instance_is_refused(bench: Bench) -> None:
    mine, other = (NewBeat("a", 1, "cpu", "x", 1, None, instance) for instance in ("mine", "other"))
    workers.beat(bench.engine, mine)
    (first,) = workers.list_workers(bench.engine)
    workers.beat(bench.engine, dataclasses.replace(mine, run_id="run_x"))
    (same,) = workers.list_workers(bench.engine)
    assert (same.started_at, same.run_id) == (first.started_at, "run_x")
    with pytest.raises(workers.NameLost):
        workers.beat(bench.engine, other)
    assert not workers.take_name(bench.engine, other, before="a third")
    assert workers.take_name(bench.engine, other, before="mine")
    (new,) = workers.list_workers(bench.engine)
    assert (new.instance, new.started_at > first.started_at) == ("other", True)
    with pytest.raises(workers.NameLost):
        workers.beat(bench.engine, mine)
    workers.leave(bench.engine, "a", "mine")
    assert workers.find(bench.engine, "a") is not None
    workers.leave(bench.engine, "a", "other")
    assert workers.find(bench.engine, "a") is None


def test_a_job_is_deleted_with_all_that_is_its_but_not_while_it_runs(bench: Bench) -> None:
    job_id = bench.trained()
    delete_job(bench.engine, job_id)
    for look in (get_job, find_model):
        with pytest.raises(NotFound):
            look(bench.engine, job_id)
    assert events_after(bench.engine, 0, job_ids=[job_id]) == []
    running, run_id = bench.submit()
    bench.beat()
    runs.start_jobs(bench.engine, runs.begin_attempt(bench.engine, run_id, WORKER), {}, None)
    with pytest.raises(IllegalTransition, match="Cancel it first"):
        delete_job(bench.engine, running)


def test_a_sweep_takes_orphans_and_what_was_deleted_and_nothing_else(bench: Bench) -> None:
    kept, deleted = bench.trained(), bench.trained()
    mine = bench.artifacts.list_below(f"jobs/{kept}")
    bench.artifacts.write(f"jobs/{kept}/run_old-1/000001.weights.safetensors", b"orphan")
    bench.artifacts.write("jobs/job_unknown/run-1/000001.weights.safetensors", b"of another database")
    running, run_id = bench.submit()
    attempt = runs.begin_attempt(bench.engine, run_id, WORKER)
    folder = attempt_folder(running, run_id, attempt.number, attempt.token)
    being_written = f"{folder}/000000.weights.safetensors"
    bench.artifacts.write(being_written, b"no row yet")
    delete_job(bench.engine, deleted)
    swept = Sweep(bench.engine, bench.artifacts, None).sweep()
    assert (swept.orphan_files, swept.deleted_jobs) == (1, 1)
    assert bench.artifacts.list_below(f"jobs/{kept}") == mine
    assert bench.artifacts.list_below(f"jobs/{deleted}") == []
    assert bench.artifacts.list_below("jobs/job_unknown") != []
    assert bench.artifacts.list_below(f"jobs/{running}") == [being_written]


def test_a_sweep_forgets_what_the_queue_keeps_of_runs_that_ended_an_hour_ago(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        bench.submit()
    with bench.engine.begin() as connection:
        ended = (dt.datetime.now(dt.UTC).timestamp() - 60) * 1000
        change = (
            "UPDATE workflow_status SET status = 'SUCCESS', completed_at = :ended WHERE workflow_uuid IN (SELECT id "
        )
        change += "FROM runs ORDER BY id LIMIT 2)"
        connection.execute(text(change), {"ended": ended})
    sweep = Sweep(bench.engine, bench.artifacts, None, queue_module.forget_ended)
    assert sweep.sweep().queue_entries == 0
    monkeypatch.setattr(queue_module, "ENTRIES_KEPT_S", 30.0)
    monkeypatch.setattr(queue_module, "ENTRIES_AT_ONCE", 1)
    assert sweep.sweep().queue_entries == 2
    with bench.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM workflow_status")).scalar_one() == 1


def test_a_sweep_trims_what_ended_before_the_setting_was_made(bench: Bench) -> None:
    job_id = bench.trained(LONG)
    assert Sweep(bench.engine, bench.artifacts, 2).sweep().old_checkpoints == 3
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [3, 4]


def test_fifty_submissions_at_once_with_one_key_are_one_job(bench: Bench) -> None:
    once = Once("key", "fingerprint", lambda _connection, job_id: {"id": job_id})

    def submit(_number: int) -> str:
        new, replayed = bench.queue.submit(JobRequest(SMALL), once)
        return new.job_id if new else str(replayed and replayed["id"])

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(submit, range(50)))) == 1
    with bench.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 1
    with pytest.raises(KeyReused):
        bench.queue.submit(JobRequest(SMALL), once._replace(fingerprint="other"))


def test_a_full_queue_refuses_and_keeps_nothing_of_what_it_refused(bench: Bench) -> None:
    queue = Queue(bench.engine, max_queued=2, worker_ttl_s=TTL_S, jobs_per_run=8)
    once = Once("key", "fingerprint", lambda _connection, job_id: {"id": job_id})
    first = queue.submit(JobRequest(SMALL)).new
    queue.submit(JobRequest(SMALL))
    assert first is not None
    with pytest.raises(QueueFull, match="FANIN_MAX_QUEUED"):
        queue.submit(JobRequest(SMALL), once)
    bench.attempt(first.run_id)
    assert queue.submit(JobRequest(SMALL), once).new is not None


def test_latest_is_the_job_that_ended_last_even_if_the_clock_was_set_back(bench: Bench) -> None:
    first, second = bench.trained(), bench.trained()
    with writing(bench.engine) as connection:
        connection.execute(update(jobs).where(jobs.c.id == first).values(ended_at=jobs.c.ended_at + 3600))
    assert find_model(bench.engine, "latest").checkpoint.job_id == second
