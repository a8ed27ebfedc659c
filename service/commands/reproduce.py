"""`fanin reproduce`: test published claims by submitting recipes as experiments to a temporary service.

It uses the client, and so only the public API. Without a GPU, one single-threaded worker per core trains the members.
"""

from __future__ import annotations

import datetime as dt
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from fanin import Client, Experiment, answers
from fanin.answers import RecipeView
from rich.console import Console

from models.errors import FaninError
from service.commands.local_service import LocalService, Termination, users_environment
from service.processes.hardware import processor_name, usable_cores, visible_gpus
from service.settings import Settings


class NotReproduced(FaninError):
    """The recipes cannot be tested."""


class Tried(NamedTuple):
    """A recipe, its ended experiment, and the duration in seconds."""

    recipe: RecipeView
    experiment: answers.Experiment
    duration_s: float

    @property
    def answer(self) -> str:
        """Return yes, NO, or a question mark if the verdict is undecided."""
        verdict = self.experiment.verdict
        return {True: "yes", False: "NO", None: "?"}[None if verdict is None else verdict.holds]

    @property
    def measured(self) -> str:
        """Return what was measured, or why the verdict is undecided."""
        verdict = self.experiment.verdict
        return "" if verdict is None else str(verdict.measured or verdict.reason)


def reproduce(settings: Settings, names: Sequence[str], seeds: int | None, out: Path | None) -> int:
    """Test recipes by name (no names: all except the long ones), print each verdict, and write a page to `out`.

    With `seeds` each recipe runs with that many seeds, 0, 1, ..., instead of its own; at least with as many as it
    needs. Returns 0 if all claims were reproduced, else 1. Raises `NotReproduced` if they cannot be tested.
    """
    termination = Termination()
    console = Console(highlight=False)
    gpus = visible_gpus()
    worker_settings = {} if gpus else {"FANIN_SLOTS": str(usable_cores()), "FANIN_SLOT_THREADS": "1"}
    log = settings.home / "logs" / "reproduce.log"
    service = LocalService(users_environment() | worker_settings, log, termination.sleep)
    with ExitStack() as stack:
        with console.status(f"Starting Fanin on {service.base_url} ..."):
            stack.enter_context(service)
        client = stack.enter_context(Client(service.base_url))
        recipes = _chosen(client, names)
        tried = []
        for recipe in recipes:
            tried.append(_try(client, recipe, seeds, console, termination))
            console.print(f"{recipe.name:<4}{tried[-1].answer:<5}{tried[-1].measured}", markup=False, soft_wrap=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(tried, names, seeds))
        console.print(f"Written to {out}.")
    return 0 if all(run.answer == "yes" for run in tried) else 1


def _chosen(client: Client, names: Sequence[str]) -> list[RecipeView]:
    known = {recipe.name: recipe for recipe in client.experiments.recipes()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise NotReproduced(f"There are no recipes {', '.join(unknown)}.", f"There are: {', '.join(known)}.")
    return [known[name] for name in names] or [recipe for recipe in known.values() if not recipe.is_long]


def _try(client: Client, recipe: RecipeView, seeds: int | None, console: Console, termination: Termination) -> Tried:
    started = time.monotonic()
    chosen = None if seeds is None else range(max(seeds, recipe.least_seeds))
    experiment = client.experiments.create(recipe=recipe.name, seeds=chosen)
    with console.status("") as status:

        def look(now: Experiment) -> None:
            termination.check()
            done = sum(member.state in ("succeeded", "failed") for member in now.members)
            status.update(f"{recipe.name} {recipe.title}: {done} of {len(now.members)} members")

        experiment = experiment.wait(progress=look)
    failed = [member.job_id for member in experiment.members if member.state == "failed"]
    if failed:
        reason = client.jobs.get(failed[0]).error
        raise NotReproduced(
            f"{recipe.name}: a member failed: {reason and reason.detail}", (reason and reason.hint) or ""
        )
    return Tried(recipe, experiment, time.monotonic() - started)


def page(tried: Sequence[Tried], names: Sequence[str], seeds: int | None) -> str:
    """Return the results as a page of Markdown, with the date, the machine and the versions."""
    holding = sum(run.answer == "yes" for run in tried)
    command = " ".join(["fanin reproduce", *names, *([f"--seeds {seeds}"] if seeds else [])])
    lines = [
        f"# Experiments, with seeds 0 to {seeds - 1}" if seeds else "# Experiments",
        "",
        f"Written by `{command}` on {dt.datetime.now(dt.UTC).date().isoformat()}: {usable_cores()} cores of "
        f"{processor_name()}, {len(visible_gpus())} GPUs; Python {platform.python_version()}, "
        f"torch {version('torch')}, fanin {version('fanin')}. {holding} of {len(tried)} claims were reproduced, in "
        f"{sum(run.duration_s for run in tried) / 60:.1f} minutes.",
        "",
        "| recipe | claim | source | expected | measured | holds? | members | s |",
        _row(["---"] * 8),
    ]
    for run in tried:
        recipe = run.recipe
        cells = [
            f"{recipe.name} `{recipe.title}`",
            recipe.claim,
            recipe.source,
            recipe.expected,
            run.measured,
            run.answer,
            str(len(run.experiment.members)),
            f"{run.duration_s:.0f}",
        ]
        lines.append(_row(cells))
    for run in tried:
        table = run.experiment.verdict and run.experiment.verdict.table
        if table:
            head, *rows = table
            lines += ["", f"## {run.recipe.name} `{run.recipe.title}`", "", _row(head), _row(["---"] * len(head))]
            lines += [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
