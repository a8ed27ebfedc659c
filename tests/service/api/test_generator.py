"""A belief network as a generator, over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.spec import TrainSpec
from service.inference.pictures import decode_picture
from tests.service.conftest import SMALL, Bench, problem

SPEC = TrainSpec.model_validate(
    SMALL.model_dump()
    | {"architecture": Architecture(hidden=(12, 8), activation="sigmoid"), "init": Dbn(rbm_epochs=1, batch=20)}
)


def pixels(url: str) -> np.ndarray[Any, Any]:
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    return decode_picture(base64.b64decode(content), "png", fit=False)


def test_chains_are_pictures_step_by_step_and_digits_have_a_reconstruction(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SPEC)
    answer = api.get(f"/models/{job_id}/samples?count=3&steps=5&every=2").raise_for_status().json()
    assert answer["layers"] == [784, 12, 8]
    assert len(answer["chains"]) == 3
    for chain in answer["chains"]:
        assert [frame["step"] for frame in chain["frames"]] == [0, 2, 4, 5]
        assert chain["reconstruction"] is None
        assert pixels(chain["frames"][0]["image"]).shape == (28, 28)
    again = api.get(f"/models/{job_id}/samples?count=3&steps=5&every=2").json()
    assert again == answer
    digits = api.get(f"/models/{job_id}@1/samples?count=2&steps=1&every=1&start=digits").raise_for_status().json()
    assert all(chain["reconstruction"] for chain in digits["chains"])


def test_the_likelihood_of_a_small_machine_is_exact_and_of_a_wider_one_has_an_interval(
    bench: Bench, api: httpx.Client
) -> None:
    narrow = bench.trained(SPEC)
    exact = api.get(f"/models/{narrow}/likelihood").raise_for_status().json()
    assert (exact["method"], exact["units"], exact["chains"]) == ("exact", 12, None)
    assert (exact["machines"], exact["is_bound"]) == (1, False)
    assert exact["log_z_low"] == exact["log_z"] == exact["log_z_high"]
    assert -784 * np.log(2) < exact["test_log_likelihood"] < 0
    wide = SPEC.model_copy(update={"architecture": Architecture(hidden=(24,), activation="sigmoid")})
    annealed = api.get(f"/models/{bench.trained(wide)}/likelihood?chains=20&temperatures=200").json()
    assert (annealed["method"], annealed["chains"], annealed["temperatures"]) == ("ais", 20, 200)
    assert annealed["log_z"] < annealed["log_z_high"]


def test_the_likelihood_of_several_machines_is_a_bound(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SPEC)
    both = api.get(f"/models/{job_id}/likelihood?machines=2").raise_for_status().json()
    assert (both["machines"], both["units"], both["is_bound"], both["method"]) == (2, 8, True, "exact")
    assert -784 * np.log(2) < both["test_log_likelihood"] < 0
    missing = problem(api.get(f"/models/{job_id}/likelihood?machines=3"), 422, "invalid-spec")
    assert "has 2 machines, not 3" in missing["detail"]
    problem(api.get(f"/models/{job_id}/likelihood?machines=0"), 422, "invalid-request")


@pytest.mark.parametrize("query", ["count=0", "steps=0", "every=0", "start=here", "seed=-1", "count=64&every=1", "x=1"])
def test_chains_without_sense_are_refused(query: str, bench: Bench, api: httpx.Client) -> None:
    problem(api.get(f"/models/{bench.trained(SPEC)}/samples?{query}"), 422, "invalid-request")


def test_a_model_without_pretraining_is_no_generator_and_says_so(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SMALL)
    for part in ("samples", "likelihood"):
        missing = problem(api.get(f"/models/{job_id}/{part}"), 404, "not-found")
        assert "pre-trains nothing" in missing["detail"]
    problem(api.get("/models/job_x/samples"), 404, "not-found")


def test_a_damaged_file_is_told(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained(SPEC)
    (path,) = (path for path in bench.artifacts.list_below(f"jobs/{job_id}") if "pretrain" in path)
    bench.artifacts.delete(path)
    problem(api.get(f"/models/{job_id}/samples"), 503, "checkpoint-damaged")
