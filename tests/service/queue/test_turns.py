from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from service.queue import turns
from service.queue.turns import Turns

FIRST, SECOND, OTHER = (SimpleNamespace(name=name) for name in ("runs", "runs-cpu", "of the engine"))


class Entries:
    """Stands for the engine: gives one entry a claim, and counts claims."""

    def __init__(self) -> None:
        self.claims = 0

    def claim(self, queue: Any, *_arguments: Any) -> tuple[list[str], Any]:
        self.claims += 1
        return [f"{queue.name}-{self.claims}"], None


@pytest.fixture
def entries() -> Entries:
    return Entries()


def test_a_claim_holds_back_those_of_all_queues_until_its_run_has_ended(entries: Entries) -> None:
    own = Turns()
    claim = own.limiting(entries.claim, ["runs", "runs-cpu"])
    assert claim(FIRST) == (["runs-1"], None)
    assert claim(SECOND) == ([], turns.NO_ROOM)
    with own.of("runs-1"):
        assert claim(FIRST) == ([], turns.NO_ROOM)
    assert claim(SECOND) == (["runs-cpu-2"], None)
    assert entries.claims == 2


def test_a_recovered_run_that_was_not_claimed_counts_too(entries: Entries) -> None:
    own = Turns()
    with own.of("recovered"):
        assert own.limiting(entries.claim, ["runs"])(FIRST) == ([], turns.NO_ROOM)


def test_of_two_runs_at_a_time_the_second_knows_that_it_is_not_alone() -> None:
    own = Turns()
    with own.of("first") as first, own.of("second") as second:
        assert (first, second) == (True, False)
    with own.of("third") as third:
        assert third


def test_queues_of_the_engine_itself_are_not_held_back(entries: Entries) -> None:
    claim = Turns().limiting(entries.claim, ["runs"])
    claim(FIRST)
    assert claim(OTHER)[0] == ["of the engine-2"]


def test_a_claim_that_never_begins_does_not_hold_back_for_ever(
    entries: Entries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim = Turns().limiting(entries.claim, ["runs"])
    claim(FIRST)
    monkeypatch.setattr(turns, "BEGIN_LIMIT_S", -1.0)
    assert claim(FIRST)[0] == ["runs-2"]
    assert "runs-1 was claimed and did not begin" in caplog.text
