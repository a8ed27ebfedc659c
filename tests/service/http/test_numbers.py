from __future__ import annotations

import pytest

from service.http.numbers import whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("9" * 5000, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("\u00b2", None),
        ("\u0663", None),
        ("1e3", None),
    ],
)
def test_only_a_few_ascii_digits_are_a_number(text: str, number: int | None) -> None:
    assert whole_number(text) == number
