"""McNemar's test, against the binomial law counted by hand."""

from __future__ import annotations

import pytest

from models.evaluation.pairs import mcnemar_p


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 2 * 11 / 1024), (0, 6, 2 / 64), (6, 0, 2 / 64)],
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int, expected: float) -> None:
    assert mcnemar_p(first, second) == pytest.approx(expected)
