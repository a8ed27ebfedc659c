"""Numbers in headers and paths, as the grammar of HTTP has them: the digits 0 to 9, and not too many."""

from __future__ import annotations

MAX_DIGITS = 18


def whole_number(text: str, max_digits: int = MAX_DIGITS) -> int | None:
    """Return the number that 1 to `max_digits` ASCII digits say, or None for any other text.

    Python's `int` also accepts other scripts, signs, spaces and underscores, and raises beyond 4,300 digits;
    `str.isdigit` also accepts superscripts, for which `int` raises.
    """
    if not text.isascii() or not text.isdigit() or len(text) > max_digits:
        return None
    return int(text)
