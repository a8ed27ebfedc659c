"""How rows of weights lie in memory, so that a processor reads them in whole cache lines."""

from __future__ import annotations

LINE = 16
"""float32 numbers of a cache line."""
SETS = 64


def rounded_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def columns_of(width: int) -> int:
    """Return a width in whole cache lines, in floats."""
    return rounded_up(width, LINE)


def stride_of(width: int) -> int:
    """Return how far apart rows of a width lie, in floats.

    Rows at a multiple of 64 floats would all fall into a few sets of the first-level cache and drive each other out.
    """
    columns = columns_of(width)
    return columns + LINE if columns % SETS == 0 else columns
