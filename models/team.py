"""How many threads take a step: as many as are quickest, found by trying, again and again.

Two cores that do not share a cache pass a line of it on in 150 ns instead of 30 (measured on an EPYC), and every step
passes on the weights: there one thread is quicker than two, by a third. Which cores a thread gets, and who else wants
them, changes while a training runs. The bits of a training do not depend on the choice.
"""

from __future__ import annotations

STEPS_BETWEEN_TRIALS = 300
STEPS_OF_A_TRIAL = 4
WORTH_CHANGING = 0.95


class Team:
    """The number of threads of the next step: `most`, or one where that is quicker.

    Every `STEPS_BETWEEN_TRIALS` steps the other number is tried for a few, and kept if the quickest of them took less
    than 95 % of the quickest of the few before. That costs less than a hundredth.
    """

    def __init__(self, most: int) -> None:
        self.threads = most
        self._numbers = (most, 1)
        self._current_s: list[float] = []
        self._tried_s: list[float] = []

    def took(self, seconds: float) -> None:
        """Note what a step with `threads` threads took."""
        most, one = self._numbers
        if most == one:
            return
        if len(self._current_s) < STEPS_BETWEEN_TRIALS:
            self._current_s.append(seconds)
            if len(self._current_s) == STEPS_BETWEEN_TRIALS:
                self.threads = self._other()
            return
        self._tried_s.append(seconds)
        if len(self._tried_s) < STEPS_OF_A_TRIAL:
            return
        before_s = min(self._current_s[-STEPS_OF_A_TRIAL:])
        if min(self._tried_s) > WORTH_CHANGING * before_s:
            self.threads = self._other()
        self._current_s, self._tried_s = [], []

    def _other(self) -> int:
        most, one = self._numbers
        return one if self.threads == most else most
