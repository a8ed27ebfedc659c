"""How many threads take a step: as many as are quickest, found by trying, again and again.

Two cores that do not share a cache pass a line of it on in 150 ns instead of 30 (measured on an EPYC), and every step
passes on the weights: there one thread is quicker than two, by a third. Which cores a thread gets, and who else wants
them, changes while a training runs. The bits of a training do not depend on the choice.
"""

from __future__ import annotations

from collections import deque

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
        self._other = 1
        self._steps = 0
        self._last_s: deque[float] = deque(maxlen=STEPS_OF_A_TRIAL)
        self._before_s = 0.0

    def took(self, seconds: float) -> None:
        """Note what a step with `threads` threads took."""
        self._last_s.append(seconds)
        self._steps += 1
        if self._steps == STEPS_BETWEEN_TRIALS:
            self._before_s = min(self._last_s)
            self._change()
        elif self._steps == STEPS_BETWEEN_TRIALS + STEPS_OF_A_TRIAL:
            if min(self._last_s) > WORTH_CHANGING * self._before_s:
                self._change()
            self._steps = 0

    def _change(self) -> None:
        self.threads, self._other = self._other, self.threads
