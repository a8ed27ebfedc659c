"""Groups have limits of number and size, and lose nothing."""

from __future__ import annotations

import pytest

from service.artifacts.groups import in_groups


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1, 1, 1, 1], [[1, 1, 1], [1]]),
        ([6, 4, 1], [[6, 4], [1]]),
        ([6, 5, 6], [[6], [5], [6]]),
        ([99, 1, 99], [[99], [1], [99]]),
    ],
)
def test_a_group_ends_at_its_number_or_its_size(sizes: list[int], expected: list[list[int]]) -> None:
    assert list(in_groups(sizes, lambda size: size, most=3, most_bytes=10)) == expected
