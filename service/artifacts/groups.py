"""Divide files, or what becomes files, into groups that are in memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def in_groups(
    items: Iterable[Item], bytes_of: Callable[[Item], int], most: int, most_bytes: int
) -> Iterator[list[Item]]:
    """Yield the items in groups of at most `most`, and of at most `most_bytes` unless a single one has more."""
    group: list[Item] = []
    group_bytes = 0
    for item in items:
        own_bytes = bytes_of(item)
        if group and (len(group) == most or group_bytes + own_bytes > most_bytes):
            yield group
            group, group_bytes = [], 0
        group.append(item)
        group_bytes += own_bytes
    if group:
        yield group
