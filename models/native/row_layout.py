"""The layout of rows of weights in memory, so that a processor reads them in whole cache lines."""

from __future__ import annotations

LINE = 16
"""float32 numbers in a cache line."""
SETS = 64


def rounded_up(number: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple


def columns_of(width: int) -> int:
    """Return a width rounded up to whole cache lines, in floats."""
    return rounded_up(width, LINE)


def stride_of(width: int) -> int:
    """Return the distance between rows of a width, in floats.

    Rows at a multiple of 64 floats would all map to a few sets of the first-level cache and evict each other.
    """
    columns = columns_of(width)
    return columns + LINE if columns % SETS == 0 else columns
