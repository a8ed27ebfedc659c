"""How far a job is, in words, in a bar, and in a notebook."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from fanin import answers
from fanin.progress import AsBar, AsLines, InNotebook, Nothing, progress_bar, shown, state_of
from rich.console import Console

SPEC = {"epochs": 4, "init": {"scheme": "zeros"}}
PROGRESS = {
    "phase": "train",
    "layer": None,
    "epoch": 2,
    "epochs": 4,
    "percent": 30.0,
    "running_loss": 0.5,
    "images_per_s": 1000.0,
    "time_left_s": 3.0,
}


def job(state: str, **values: Any) -> answers.JobWithMetrics:
    return answers.JobWithMetrics({"id": "j", "state": state, "spec": SPEC, "epoch": 1, "progress": None, **values})


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (job("queued"), (0.25, "queued", "")),
        (job("running", progress=PROGRESS), (0.3, "epoch 2/4", "loss 0.5000  1,000 images/s  3 s left")),
        (job("running", progress=PROGRESS | {"phase": "prepare"}), (0.25, "running", "")),
        (
            job("running", progress=PROGRESS | {"phase": "pretrain", "layer": 2, "running_loss": None}),
            (0.3, "pre-training layer 2, epoch 2/4", "1,000 images/s  3 s left"),
        ),
        (
            job("succeeded", metrics=[{"epoch": 4, "train_loss_mean": 0.1, "images_per_s": 5.0}]),
            (1.0, "succeeded, epoch 4/4", "loss 0.1000  5 images/s"),
        ),
        (job("failed", metrics=[]), (0.25, "failed", "")),
    ],
)
def test_a_job_is_put_into_words(thing: Any, expected: tuple[float, str, str]) -> None:
    assert state_of(thing) == expected


def test_an_experiment_is_put_into_words() -> None:
    members = [{"state": state} for state in ("succeeded", "failed", "running", "queued")]
    experiment = answers.Experiment({"members": members, "states": {"succeeded": 1, "failed": 1, "running": 2, "x": 0}})
    assert state_of(experiment) == (0.5, "2 of 4 members", "1 succeeded, 1 failed, 2 running")


def test_lines_are_written_when_there_is_news() -> None:
    file = io.StringIO()
    lines = AsLines(file)
    for thing in (job("queued"), job("queued"), job("running", progress=PROGRESS)):
        lines.show(thing)
    assert file.getvalue() == "queued  25%\nepoch 2/4  30%  loss 0.5000  1,000 images/s  3 s left\n"


def test_a_bar_shows_the_share() -> None:
    file = io.StringIO()
    with progress_bar(Console(file=file, force_terminal=True, width=100)) as progress:
        AsBar(progress).show(job("running", progress=PROGRESS))
    assert "epoch 2/4" in file.getvalue()
    assert "30%" in file.getvalue()


def test_a_notebook_has_one_place_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []
    handle = SimpleNamespace(update=lambda page: calls.append(("update", page)))

    def display(page: str, display_id: bool) -> Any:
        calls.append(("display", page))
        return handle

    module = SimpleNamespace(HTML=str, display=display)
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1), display=module)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with shown(True) as display_:
        assert isinstance(display_, InNotebook)
        for number in range(3):
            display_.show(SimpleNamespace(_repr_html_=lambda number=number: str(number)))
    assert calls == [("display", "0"), ("update", "1"), ("update", "2")]


def test_nothing_and_a_function_are_displays_too(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    with shown(seen.append) as display:
        display.show("a")
    with shown(False) as display:
        display.show("b")
        assert isinstance(display, Nothing)
    assert seen == ["a"]
    assert capsys.readouterr() == ("", "")
