"""Pre-training in an attempt: committed at every epoch, resumed at any of them, paused, told, and never a model."""

from __future__ import annotations

import httpx
import pytest

from models.checkpoint import weights_sha256
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from service.errors import NotFound
from service.store import commits
from service.store.checkpoints import find_model, list_checkpoints
from service.store.commits import Committed
from service.store.events import events_after
from service.store.jobs import get_job, job_diagnostics, job_pretraining
from service.training.context import Drained
from tests.service.conftest import SMALL, Bench, die_at, undisturbed

SPEC = SMALL.model_copy(
    update={
        "architecture": Architecture(hidden=(12, 8), activation="sigmoid"),
        "init": Dbn(rbm_epochs=2, batch=20),
    }
)


def final_weights(bench: Bench, job_id: str) -> str:
    return find_model(bench.engine, job_id).checkpoint.weights_sha256


def test_every_epoch_of_every_layer_is_committed_and_told(bench: Bench) -> None:
    job_id = bench.trained(SPEC)
    assert get_job(bench.engine, job_id).state == "succeeded"
    assert [(one.layer, one.epoch) for one in job_pretraining(bench.engine, job_id)] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    kinds = [event.type for event in events_after(bench.engine, 0, job_ids=[job_id])]
    assert kinds.count("job.pretrain_epoch") == 4
    assert kinds.index("job.pretrain_epoch") < kinds.index("job.epoch")
    kept = [(row.phase, row.epoch) for row in list_checkpoints(bench.engine, job_id)]
    assert kept == [("pretrain", 4), ("train", 0), ("train", 1), ("train", 2)]  # the machines stay, as a generator
    assert len([path for path in bench.artifacts.list_below(f"jobs/{job_id}") if "pretrain" in path]) == 1
    assert final_weights(bench, job_id) == undisturbed(bench.data, SPEC)
    with pytest.raises(NotFound):
        find_model(bench.engine, f"{job_id}@4")  # the fourth epoch of pre-training is no model
    assert [one.epoch for one in job_diagnostics(bench.engine, job_id)] == [0, 1, 2]


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5, 6])
def test_a_worker_killed_in_any_commit_is_followed_by_one_that_ends_with_the_same_bits(
    call: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run_id = bench.submit(SPEC)
    die_at(bench, run_id, "commit", call)
    assert len(job_pretraining(bench.engine, job_id)) == min(call - 1, 4)
    bench.attempt(run_id)
    assert final_weights(bench, job_id) == undisturbed(bench.data, SPEC)
    assert len(job_pretraining(bench.engine, job_id)) == 4


def test_a_pause_in_pretraining_is_granted_at_its_epoch_and_resumed_to_the_same_bits(bench: Bench) -> None:
    job_id, run_id = bench.submit(SPEC)
    asked = False
    commit = commits.commit_checkpoints

    def pausing(*arguments: object, **keywords: object) -> list[Committed]:
        nonlocal asked
        if not asked:
            asked = True
            bench.apply_action(job_id, "pause")
        return commit(*arguments, **keywords)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "commit_checkpoints", pausing)
        bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "paused"
    assert len(job_pretraining(bench.engine, job_id)) == 1
    bench.attempt(bench.apply_action(job_id, "resume").run_id)
    assert final_weights(bench, job_id) == undisturbed(bench.data, SPEC)


def test_a_cancel_just_before_a_commit_of_pretraining_is_final(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit(SPEC)
    commit = commits.commit_checkpoints

    def cancelled_first(*arguments: object, **keywords: object) -> list[Committed]:
        bench.apply_action(job_id, "cancel")
        return commit(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(commits, "commit_checkpoints", cancelled_first)
    bench.attempt(run_id)
    assert get_job(bench.engine, job_id).state == "cancelled"
    assert job_pretraining(bench.engine, job_id) == []


def test_a_drain_gives_the_job_back_after_an_epoch_of_pretraining(bench: Bench) -> None:
    job_id, run_id = bench.submit(SPEC)
    with pytest.raises(Drained):
        bench.attempt(run_id, draining=lambda: True)
    assert len(job_pretraining(bench.engine, job_id)) == 1
    bench.attempt(run_id)
    assert final_weights(bench, job_id) == undisturbed(bench.data, SPEC)


def test_a_damaged_checkpoint_of_pretraining_costs_one_epoch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit(SPEC)
    die_at(bench, run_id, "commit", 4)
    newest = list_checkpoints(bench.engine, job_id)[-1]
    bench.artifacts.delete(newest.weights_path)
    bench.attempt(run_id)
    assert final_weights(bench, job_id) == undisturbed(bench.data, SPEC)
    damaged = [one for one in events_after(bench.engine, 0, job_ids=[job_id]) if one.type == "job.checkpoint_damaged"]
    assert [one.data["epoch"] for one in damaged] == [newest.epoch] == [3]


def test_the_filters_stay_with_the_model_as_its_first_weights(bench: Bench) -> None:
    from models.checkpoint import decode
    from models.data.training_images import training_images

    job_id = bench.trained(SPEC)
    row = find_model(bench.engine, f"{job_id}@0").checkpoint
    kept = decode(bench.artifacts.read(row.weights_path, row.weights_file_sha256)).weights
    expected = SPEC.first_network(training_images(SPEC, bench.data)).to_weights()
    assert weights_sha256(kept) == weights_sha256(expected)


def test_the_api_shows_pretraining_and_layers(bench: Bench, api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, run_id = bench.submit(SPEC)
    die_at(bench, run_id, "commit", 6)
    rows = api.get(f"/jobs/{job_id}/checkpoints").json()["data"]
    assert [row["model"] for row in rows] == [None, None, f"{job_id}@0"]
    bench.attempt(run_id)
    job = api.get(f"/jobs/{job_id}").json()
    assert [one["number"] for one in job["pretraining"]] == [1, 2, 3, 4]
    shown = api.get(job["links"]["diagnostics"]).json()["data"]
    assert [one["epoch"] for one in shown] == [0, 1, 2]
    assert {"verdict", "layers", "gradient_norm"} <= set(shown[0])
    off = bench.trained(SMALL.model_copy(update={"diagnostics": False}))
    assert api.get(f"/jobs/{off}/diagnostics").json()["data"] == []
    api.delete(f"/jobs/{job_id}").raise_for_status()
    assert api.get(f"/jobs/{job_id}/diagnostics").status_code == 404


def test_a_job_of_no_epochs_is_its_first_network_evaluated(bench: Bench) -> None:
    job_id = bench.trained(SMALL.model_copy(update={"epochs": 0}))
    model = find_model(bench.engine, job_id).checkpoint
    assert (model.epoch, model.final) == (0, True)
    assert model.evaluation is not None
    assert 0 < model.evaluation.accuracy < 0.4
    assert job_diagnostics(bench.engine, job_id)[0].layers[0].local_z is not None
