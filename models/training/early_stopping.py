"""End the training of a model whose validation loss has not fallen for some epochs (Prechelt 1998, Early stopping)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class EarlyStopping:
    """The validation losses of a training's models, by index; `patience` None: no model is ever out of patience."""

    patience: int | None
    _best: dict[int, tuple[float, int]] = field(default_factory=dict)
    _ended: set[int] = field(default_factory=set)

    def take(self, index: int, epoch: int, loss: float | None) -> None:
        """Take in a model's validation loss after an epoch; None stands for one that is not finite."""
        least, best_epoch = self._best.get(index, (math.inf, 0))
        if loss is not None and loss < least:
            self._best[index] = loss, epoch
        elif self.patience is not None and epoch - best_epoch >= self.patience:
            self._ended.add(index)

    def is_out_of_patience(self, index: int) -> bool:
        """Return whether a model has had `patience` epochs since the one with its least loss, or since the start."""
        return index in self._ended
