"""How far a job or an experiment is: in a notebook as HTML, in a terminal as a bar, else line by line."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO


class Display(Protocol):
    """Shows a job or an experiment again and again."""

    def show(self, thing: Any) -> None:
        """Show it as it is now."""


class Nothing:
    """Shows nothing."""

    def show(self, thing: Any) -> None:
        """Do nothing."""


class InNotebook:
    """Shows the HTML of the thing in one place of a notebook."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, thing: Any) -> None:
        """Replace what is shown."""
        from IPython.display import HTML, display

        page = HTML(thing._repr_html_())
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


class AsBar:
    """Shows a bar of rich on standard error."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=1.0, more="")

    def show(self, thing: Any) -> None:
        """Move the bar."""
        share, before, after = state_of(thing)
        self._progress.update(self._task, completed=share, description=before, more=after)


class AsLines:
    """Writes a line each time that the words before the numbers change."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._last = ""

    def show(self, thing: Any) -> None:
        """Write a line if there is news."""
        share, before, after = state_of(thing)
        if before != self._last:
            self._last = before
            print(f"{before}  {share:.0%}  {after}".rstrip(), file=self._file, flush=True)


def state_of(thing: Any) -> tuple[float, str, str]:
    """Return the share that is done, the state or the epoch in words, and the numbers beside it."""
    if hasattr(thing, "members"):
        done = sum(member.state in ("succeeded", "failed", "cancelled") for member in thing.members)
        states = ", ".join(f"{count} {state}" for state, count in thing.states.items() if count)
        return done / max(1, len(thing.members)), f"{done} of {len(thing.members)} members", states
    progress, epochs = thing.progress, thing.spec.epochs
    metrics = thing.to_dict().get("metrics") or []
    if thing.state in ("succeeded", "failed", "cancelled") and metrics:
        last = metrics[-1]
        numbers = f"loss {last['train_loss_mean']:.4f}  {last['images_per_s']:,.0f} images/s"
        return last["epoch"] / max(1, epochs), f"{thing.state}, epoch {last['epoch']}/{epochs}", numbers
    if progress is None or progress.phase == "prepare" or thing.state != "running":
        return thing.epoch / max(1, epochs), thing.state, ""
    what = "epoch" if progress.phase == "train" else f"pre-training layer {progress.layer}, epoch"
    loss = "" if progress.running_loss is None else f"loss {progress.running_loss:.4f}  "
    left = "" if progress.time_left_s is None else f"  {progress.time_left_s:.0f} s left"
    return (
        progress.percent / 100,
        f"{what} {progress.epoch}/{progress.epochs}",
        f"{loss}{progress.images_per_s:,.0f} images/s{left}",
    )


class ByFunction:
    """Calls a function."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function

    def show(self, thing: Any) -> None:
        """Call it. Raises `TypeError` if it is to be awaited."""
        result = self._function(thing)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError("progress is called and not awaited: pass a plain function.")


def progress_bar(console: Any) -> Any:
    """Return the progress bar of rich that `AsBar` fills, on a console."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[more]}"),
    )
    return Progress(*columns, console=console)


@contextmanager
def shown(wanted: bool | Callable[[Any], object]) -> Iterator[Display]:
    """Give the display that fits: of the notebook, of rich in a terminal, of lines; of nothing, or a function."""
    if callable(wanted):
        yield ByFunction(wanted)
    elif not wanted:
        yield Nothing()
    elif _is_notebook():
        yield InNotebook()
    elif sys.stderr.isatty() and _has_rich():
        from rich.console import Console

        with progress_bar(Console(stderr=True, highlight=False)) as progress:
            yield AsBar(progress)
    else:
        yield AsLines(sys.stderr)


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _has_rich() -> bool:
    try:
        import rich.progress  # noqa: F401
    except ImportError:
        return False
    return True
