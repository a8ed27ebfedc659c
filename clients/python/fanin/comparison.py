"""The comparison of an experiment's groups, as records, rows, or a table of pandas."""

from __future__ import annotations

from typing import Any

from fanin import answers
from fanin.html import comparison_html, interval_in_words


class Comparison(answers.Comparison):
    """The groups of an experiment with intervals (`groups`), and the tests of each pair (`pairs`)."""

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a dictionary a group: its name, seeds, accuracy with its 95 % interval, loss, what it differs in."""
        return [
            {
                "group": group.name,
                "n": group.n,
                "accuracy": group.accuracy.mean,
                "accuracy_sd": group.accuracy.sd,
                "accuracy_low": group.accuracy.low,
                "accuracy_high": group.accuracy.high,
                "final_train_loss": None if group.final_train_loss is None else group.final_train_loss.mean,
                **group.label,
            }
            for group in self.groups
        ]

    def to_pandas(self) -> Any:
        """Return `to_rows()` as a `pandas.DataFrame`, a row a group. Raises `ImportError` without pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("to_pandas needs pandas: pip install pandas. to_rows() needs nothing.") from None

        return pd.DataFrame(self.to_rows())

    def __str__(self) -> str:
        groups = [
            f"{group.name}: {interval_in_words(group.accuracy)}, {group.n} {'seed' if group.n == 1 else 'seeds'}"
            for group in self.groups
        ]
        rates = [
            f"{one.group}: chosen on validation images at learning rate {one.rate:g}"
            + (", at the edge of those tried: a better one may be beyond" if one.at_edge else "")
            for one in self.sweep
            if one.chosen
        ]
        return "\n".join(["Accuracy, with its 95 % interval:", *groups, *rates, *(pair.verdict for pair in self.pairs)])

    def _repr_html_(self) -> str:
        return comparison_html(self)
