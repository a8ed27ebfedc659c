"""What the commands print: words and tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from fanin.terminal import printable, table


class Output:
    """Prints answers in words, or as JSON."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def show(self, answer: Any, words: str) -> None:
        """Print an answer."""
        self.write(words) if not self.is_json else print(json.dumps(answer, indent=2, ensure_ascii=False))

    def show_line(self, answer: Any, words: str) -> None:
        """Print one of many answers that come one by one, at once and on one line."""
        print(json.dumps(answer, ensure_ascii=False) if self.is_json else printable(words), flush=True)

    def show_table(self, answer: Any, heads: Sequence[str], rows: Iterable[Sequence[str]], none: str) -> None:
        """Print a list as a table; in words if it is empty."""
        if self.is_json or not answer:
            self.show(answer, none)
        else:
            print(table(heads, rows))  # its cells are clean, and it may have colours

    def note(self, text: str) -> None:
        """Write a line on standard error, beside the answer."""
        print(printable(text), file=sys.stderr, flush=True)

    def write(self, text: str) -> None:
        """Print lines, without characters that would steer the terminal."""
        print("\n".join(printable(line) for line in text.split("\n")))
