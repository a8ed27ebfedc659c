"""A small part of `make fuzz`: mutated requests of every operation with a body are never an unexpected error."""

from __future__ import annotations

import random

import httpx
import pytest

from benchmarks.mutations import mutated, seeds
from tests.service.conftest import Bench

REQUESTS = 30


# Starlette closes the files of a form that it refuses, but not after an error of the parser below it; Python does.
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile")
@pytest.mark.parametrize("number", range(18))
def test_mutated_requests_are_answered_by_what_is_wrong(number: int, bench: Bench, api: httpx.Client) -> None:
    model = bench.trained()
    made = seeds(model)
    assert len(made) == 18, "every kind of request has a part of this test"
    asked = made[number]
    sane = api.request(asked.method, asked.path, content=asked.body, headers=list(asked.headers.items()))
    assert sane.status_code in (200, 201, 422), sane.text
    chance = random.Random(number)
    for _ in range(REQUESTS):
        wrong = mutated(asked, chance)
        answer = api.request(wrong.method, wrong.path, content=wrong.body, headers=list(wrong.headers.items()))
        assert answer.status_code < 500, (wrong.path, wrong.headers, wrong.body[:200], answer.text)
