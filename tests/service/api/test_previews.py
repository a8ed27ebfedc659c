"""Previews over HTTP: the same numbers as a training's first record, from a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from benchmarks.machines import wait_until
from models.data.mnist import DataSet
from models.spec import TrainSpec
from models.training.train import Training
from service.api import preview_process as previews
from service.settings import Settings
from tests.service.conftest import Api, problem


@pytest.fixture(scope="module")
def api(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One API for all, since its preview process takes seconds to start."""
    home = tmp_path_factory.mktemp("previews")
    shutil.copy(migrated, home / "fanin.sqlite")
    with Api(Settings(home=home, data_dir=home / "no-data", node="test")) as client:
        yield client


def look(api: httpx.Client, name: str, **body: Any) -> dict[str, Any]:
    response = api.post(f"/init-schemes/{name}/preview", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_preview_has_the_numbers_of_a_trainings_first_record(api: httpx.Client, five_thousand: DataSet) -> None:
    architecture = {"hidden": [40, 30], "activation": "tanh"}
    found = look(api, "xavier_normal", architecture=architecture, seed=3, init={"gain": 1.5}, output_init="small")
    spec = TrainSpec.model_validate(
        {
            "architecture": architecture,
            "init": {"scheme": "xavier_normal", "gain": 1.5},
            "output_init": "small",
            "seed": 3,
            "data": "mnist_5k",
        }
    )
    expected = Training([spec], five_thousand, torch.device("cpu")).diagnose(0).model_dump(mode="json")
    assert found["data"] == "mnist_5k"
    assert found["note"] is None
    for layer, own in zip(found["diagnostics"]["layers"], expected["layers"], strict=True):
        assert {name for name, value in layer.items() if value is None} == {n for n, v in own.items() if v is None}
        numbers = {name: value for name, value in own.items() if value is not None}
        assert {name: layer[name] for name in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-7)
    assert found["diagnostics"]["verdict"] == expected["verdict"] == "fine"


def test_a_deep_network_of_torchs_default_is_seen_to_die(api: httpx.Client) -> None:
    architecture = {"hidden": [256] * 30}
    verdict = look(api, "torch_default", architecture=architecture, init={"bias": "zeros"})["diagnostics"]["verdict"]
    assert verdict.startswith("signal dies: ")
    assert "of it reaches layer 30" in verdict
    assert look(api, "he_normal", architecture=architecture)["diagnostics"]["verdict"] == "fine"


def test_dbn_is_shown_before_its_pretraining_and_says_so(api: httpx.Client) -> None:
    found = look(api, "dbn", architecture={"hidden": [300], "activation": "sigmoid"}, init={"weight_std": 0.02})
    assert "before training" in found["note"]
    assert found["diagnostics"]["layers"][0]["weight_std"] == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("name", "body", "pointer", "says"),
    [
        ("xavier_uniform", {"init": {"gain": 0}}, "#/init/gain", "greater than 0"),
        ("he_normal", {"architecture": {"hidden": []}}, "#/architecture/hidden", "at least 1"),
        ("he_normal", {"epochs": 3}, "#/epochs", "no such field"),
        ("random_walk", {"architecture": {"activation": "tanh"}}, "#/", "relu and identity only"),
        ("dbn", {}, "#/", "use sigmoid"),
        ("sparse_martens", {"architecture": {"hidden": [8, 8]}}, "#/", "use 1 to 8"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_with_its_place_and_reason(
    name: str, body: dict[str, Any], pointer: str, says: str, api: httpx.Client
) -> None:
    document = problem(api.post(f"/init-schemes/{name}/preview", json=body), 422, "invalid-request")
    assert document["errors"][0]["pointer"] == pointer
    assert says in document["detail"]


def test_unknown_schemes_and_networks_too_large_are_refused(api: httpx.Client) -> None:
    problem(api.post("/init-schemes/hinton/preview", json={}), 404, "not-found")
    large = {"architecture": {"hidden": [4096] * 4}}
    problem(api.post("/init-schemes/he_normal/preview", json=large), 422, "invalid-spec")


def test_data_that_is_too_little_for_a_scheme_is_the_specs_fault(api: httpx.Client) -> None:
    body = {"init": {"batch": 5000}}  # of 60,000 images it could be; here are 4,000
    document = problem(api.post("/init-schemes/lsuv/preview", json=body), 422, "invalid-spec")
    assert "of which there are 4000" in document["detail"]


def asked_at_once(api: httpx.Client, body: dict[str, Any]) -> list[httpx.Response]:
    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{api.base_url}/init-schemes/he_normal/preview", json=body, timeout=60)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(ask, range(4)))


def test_previews_that_are_asked_for_at_the_same_time_take_turns(api: httpx.Client) -> None:
    answers = asked_at_once(api, {"architecture": {"hidden": [8]}})
    assert [answer.status_code for answer in answers] == [200] * 4


def test_a_preview_whose_turn_does_not_come_is_told_to_come_back(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(api, "zeros")
    monkeypatch.setattr("service.api.preview_process.TURN_LIMIT_S", 0.05)
    answers = asked_at_once(api, {"architecture": {"hidden": [512] * 30}})
    assert sorted({answer.status_code for answer in answers}) == [200, 503]
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert "retry-after" in busy.headers


def preview_processes() -> list[int]:
    own = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_ours = f"\nPPid:\t{os.getpid()}\n" in (path.parent / "status").read_text()
            if is_ours and b"previews" in path.read_bytes().split(b"\0"):
                own.append(int(path.parent.name))
        except OSError:
            continue
    return own


def test_a_preview_process_that_dies_is_told_and_replaced(api: httpx.Client) -> None:
    look(api, "zeros")
    (process_id,) = preview_processes()
    os.kill(process_id, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.post, "/init-schemes/zeros/preview", json={})
        os.kill(process_id, signal.SIGKILL)
        assert answer.result().status_code in (200, 503)  # 200 if it was seen to be dead before it was asked
    assert look(api, "zeros")["diagnostics"]["layers"][0]["distinct_units"] == 1


def test_a_preview_whose_client_has_gone_is_ended(api: httpx.Client) -> None:
    look(api, "zeros")
    (process_id,) = preview_processes()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{api.base_url}/init-schemes/he_normal/preview",
            json={"architecture": {"hidden": [512] * 100}},
            timeout=0.2,
        )
    wait_until(lambda: process_id not in preview_processes(), 20, "the process to be gone")
    assert look(api, "zeros")["diagnostics"]["verdict"]


def test_a_preview_that_takes_too_long_is_ended(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "PREVIEW_LIMIT_S", 0.05)
    body = {"architecture": {"hidden": [512] * 30}}
    document = problem(api.post("/init-schemes/he_normal/preview", json=body), 422, "invalid-spec")
    assert "took longer" in document["detail"]
    wait_until(lambda: not preview_processes(), 10, "the process to be gone")
