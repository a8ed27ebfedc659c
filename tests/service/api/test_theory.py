"""The phase diagram over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from models.diagnostics.phase import PhaseDiagram
from tests.service.conftest import problem


def test_a_diagram_is_computed_for_the_grid_of_the_request(api: httpx.Client) -> None:
    answer = api.post("/theory/phase", json={"activation": "tanh", "sigma_w": [1, 2], "sigma_b": [0, 0.2]})
    found = PhaseDiagram.model_validate(answer.raise_for_status().json())
    assert found.phase == [["critical", "chaotic"], ["ordered", "chaotic"]]
    whole = api.post("/theory/phase", json={}).raise_for_status().json()
    assert (len(whole["xi_c"]), len(whole["xi_c"][0])) == (21, 37)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"activation": "sine"}, "#/activation"),
        ({"sigma_w": [0]}, "#/sigma_w/0"),
        ({"sigma_w": [1.0] * 62}, "#/sigma_w"),
        ({"sigma_b": [-1]}, "#/sigma_b/0"),
        ({"depth": 3}, "#/depth"),
    ],
)
def test_a_grid_that_is_no_grid_is_refused(body: dict[str, Any], pointer: str, api: httpx.Client) -> None:
    assert problem(api.post("/theory/phase", json=body), 422, "invalid-request")["errors"][0]["pointer"] == pointer
