"""Aliases over HTTP: set, moved under If-Match, kept from deletion."""

from __future__ import annotations

import httpx
import pytest

from service.store.checkpoints import list_checkpoints
from service.training.context import FaultPoint
from tests.service.conftest import SMALL, Bench, problem


@pytest.fixture
def job_id(bench: Bench) -> str:
    return bench.trained()


def test_a_wrong_name_is_refused_in_words(api: httpx.Client) -> None:
    refused = problem(api.put("/aliases/my_model", json={"model": "latest"}), 422, "invalid-request")
    (wrong,) = refused["errors"]
    assert wrong["pointer"] == "{name}"
    assert wrong["detail"] == "an alias has up to 63 lower-case letters, digits and dashes, and begins with a letter"


def test_an_alias_means_the_checkpoint_that_a_name_meant(bench: Bench, job_id: str, api: httpx.Client) -> None:
    set_ = api.put("/aliases/champion", json={"model": "latest"})
    assert set_.status_code == 200
    assert set_.json() | {"updated_at": ""} == {
        "object": "alias",
        "name": "champion",
        "model": f"{job_id}@2",
        "version": 1,
        "updated_at": "",
    }
    bench.trained(SMALL.model_copy(update={"seed": 1}))
    assert api.get("/models/champion").json()["job_id"] == job_id
    answer = api.post("/predict?model=champion", content=bytes(784)).json()
    assert answer["model"]["id"] == f"{job_id}@2"
    assert api.get("/aliases").json()["data"] == [set_.json()]


def test_it_is_moved_only_from_the_version_that_the_client_has_seen(job_id: str, api: httpx.Client) -> None:
    etag = api.put("/aliases/champion", json={"model": f"{job_id}@0"}).headers["etag"]
    assert api.get("/aliases/champion").headers["etag"] == etag == '"1"'
    moved = api.put("/aliases/champion", json={"model": f"{job_id}@1"}, headers={"If-Match": etag})
    assert (moved.headers["etag"], moved.json()["model"]) == ('"2"', f"{job_id}@1")
    late = api.put("/aliases/champion", json={"model": f"{job_id}@2"}, headers={"If-Match": etag})
    assert "is at version 2" in problem(late, 412, "precondition-failed")["detail"]
    problem(api.delete("/aliases/champion", headers={"If-Match": etag}), 412, "precondition-failed")
    assert api.get("/aliases/champion").json()["model"] == f"{job_id}@1"


def test_if_none_match_makes_only_new_ones(job_id: str, api: httpx.Client) -> None:
    for status in (200, 412):
        answer = api.put("/aliases/champion", json={"model": job_id}, headers={"If-None-Match": "*"})
        assert answer.status_code == status
    problem(api.put("/aliases/other", json={"model": job_id}, headers={"If-Match": "*"}), 412, "precondition-failed")


def test_setting_it_to_what_it_is_changes_nothing(job_id: str, api: httpx.Client) -> None:
    first, second = (api.put("/aliases/champion", json={"model": job_id}).json() for _ in range(2))
    assert first == second


def test_a_model_with_an_alias_cannot_be_deleted(job_id: str, api: httpx.Client) -> None:
    api.put("/aliases/champion", json={"model": job_id})
    assert "champion" in problem(api.delete(f"/jobs/{job_id}"), 409, "model-in-use")["detail"]
    assert api.delete("/aliases/champion").json() == {"name": "champion", "object": "alias", "deleted": True}
    assert api.delete(f"/jobs/{job_id}").status_code == 200
    problem(api.get("/aliases/champion"), 404, "not-found")


@pytest.mark.parametrize("name", ["latest", "Champion", "a_b", "1st", "x" * 64])
def test_a_name_that_cannot_be_an_alias_is_refused(name: str, job_id: str, api: httpx.Client) -> None:
    assert api.put(f"/aliases/{name}", json={"model": job_id}).status_code == 422


def test_what_is_not_there_cannot_be_meant(job_id: str, api: httpx.Client) -> None:
    problem(api.put("/aliases/champion", json={"model": "job_none"}), 404, "not-found")
    problem(api.put("/aliases/champion", json={"model": f"{job_id}@9"}), 404, "not-found")
    problem(api.delete("/aliases/champion"), 404, "not-found")
    assert api.put("/aliases/champion", json={"modell": job_id}).status_code == 422


def test_what_an_alias_means_is_kept_when_old_checkpoints_go(bench: Bench, api: httpx.Client) -> None:
    job_id, run_id = bench.submit()

    def name_the_first(_point: FaultPoint) -> None:
        if list_checkpoints(bench.engine, job_id):
            api.put("/aliases/champion", json={"model": f"{job_id}@0"}).raise_for_status()

    bench.attempt(run_id, checkpoints_kept=1, fault_hook=name_the_first)
    assert [row.epoch for row in list_checkpoints(bench.engine, job_id)] == [0, 2]
    assert api.get("/models/champion").json()["epoch"] == 0
