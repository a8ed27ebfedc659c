"""Tables, digits and colours for a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

SHADES = " .:-=+*#%@"
BAR = 30
RED, GREEN, BOLD, OFF = "\033[31m", "\033[32m", "\033[1m", "\033[0m"
COLOUR_OF = {"succeeded": GREEN, "failed": RED, "cancelled": RED}


def has_colours() -> bool:
    """Return whether standard output shows colours: a terminal, and NO_COLOR is not set (no-color.org)."""
    return (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def coloured(text: str, word: str) -> str:
    """Return a text in the colour of a state."""
    colour = COLOUR_OF.get(word)
    return f"{colour}{text}{OFF}" if colour and has_colours() else text


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return texts in columns, with the states among them in colours."""
    lines = [list(heads), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(coloured(cell.ljust(width), cell) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def printable(text: str) -> str:
    """Return a text of the service without characters that would steer the terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def drawn_digit(rows: Sequence[Sequence[int]], probabilities: Sequence[float], label: int) -> str:
    """Return a digit of grey levels 0 to 255, drawn in characters, beside the bars of ten probabilities."""
    inked = [number for number, row in enumerate(rows) if any(row)]
    first, last = (inked[0], inked[-1]) if inked else (0, len(rows) - 1)
    shown = rows[max(0, first - 1) : last + 2]
    lines = ["".join(SHADES[level * (len(SHADES) - 1) // 255] * 2 for level in row) for row in shown]
    bars = [
        f"{digit}  {'█' * round(BAR * share):<{BAR}} {share:7.2%}{'  <' if digit == label else ''}"
        for digit, share in enumerate(probabilities)
    ]
    lines += [" " * 2 * len(rows[0])] * (len(bars) - len(lines))
    top = (len(lines) - len(bars)) // 2
    return "\n".join(
        f"{line}  {bars[number - top] if top <= number < top + len(bars) else ''}".rstrip()
        for number, line in enumerate(lines)
    )
