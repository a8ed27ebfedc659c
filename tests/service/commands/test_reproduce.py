"""The page that `fanin reproduce` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from fanin.answers import Experiment, RecipeView

from service.commands.reproduce import Tried, page


def tried(
    holds: bool | None,
    measured: str | None = "accuracy .9 | .8",
    reason: str | None = None,
    table: Sequence[Sequence[str]] = (),
) -> Tried:
    recipe = {"name": "R3", "title": "zeros", "claim": "a claim", "source": "a source", "expected": "> .9"}
    verdict: dict[str, Any] = {"holds": holds, "measured": measured, "reason": reason, "table": table}
    return Tried(RecipeView(recipe), Experiment({"verdict": verdict, "members": [{}, {}]}), 12.4)


@pytest.mark.parametrize(("holds", "says"), [(True, "| yes |"), (False, "| NO |")])
def test_a_row_has_claim_source_expectation_measurement_and_verdict(holds: bool, says: str) -> None:
    row = page([tried(holds)], [], None).splitlines()[-1]
    assert row.startswith("| R3 `zeros` | a claim | a source | > .9 | accuracy .9 \\| .8 ")
    assert says in row
    assert row.endswith("| 2 | 12 |")


def test_what_cannot_be_said_is_said_to_be_so() -> None:
    row = page([tried(None, None, "1 members have no result.")], [], 10).splitlines()[-1]
    assert "| 1 members have no result. | ? |" in row


def test_a_table_of_a_verdict_is_written_below() -> None:
    one = tried(True, table=[["depth", "error"], ["2", "4.1"]])
    written = page([one], ["R3"], None)
    assert "Written by `fanin reproduce R3` on" in written
    assert "## R3 `zeros`\n\n| depth | error |\n| --- | --- |\n| 2 | 4.1 |\n" in written


def test_the_page_has_date_machine_versions_and_how_many_hold() -> None:
    head = page([tried(True), tried(False)], [], 10)
    assert head.startswith("# Experiments, with seeds 0 to 9\n")
    assert "`fanin reproduce --seeds 10`" in head
    assert "1 of 2 claims were reproduced" in head
    for part in ("cores of", "torch 2.", "Python 3."):
        assert part in head
