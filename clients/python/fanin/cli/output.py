"""What the commands print: words and tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from fanin.terminal import printable, table


class Output:
    """Prints answers in words, or as JSON."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def show(self, answer: Any, words: str) -> None:
        """Print an answer."""
        self.write(json.dumps(answer, indent=2, ensure_ascii=False) if self.is_json else words)

    def show_table(self, answer: Any, heads: Sequence[str], rows: Iterable[Sequence[str]], none: str) -> None:
        """Print a list as a table; in words if it is empty."""
        self.show(answer, table(heads, rows) if answer else none)

    def write(self, text: str) -> None:
        """Print lines, without characters that would steer the terminal."""
        print("\n".join(printable(line) for line in text.split("\n")) if not self.is_json else text)
