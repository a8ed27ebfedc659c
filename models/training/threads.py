"""How many threads take a step: as many as are quickest, found by trying, again and again.

Two cores that do not share a cache pass a line of it on in 150 ns instead of 30 (measured on an EPYC), and every step
passes on the weights: there one thread is quicker than two, by a third. Which cores a thread gets, and who else wants
them, changes while a training runs. And a thread that shares its core with other work of this process holds the whole
team up at every step: so that work says that it wants a core. The bits of a training depend on none of it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections import deque

STEPS_BETWEEN_TRIALS = 300
STEPS_OF_A_TRIAL = 4
WORTH_CHANGING = 0.95
MAX_TAKEN_S = 0.1
"""Longer than a commit works that holds a training up noticeably; one that goes on waits for a disk or a database, and
with a core less a training of two threads would take half as long again."""


class FreeCores:
    """How many of this process's `cores` a training may use now; at least one. The kernel looks before every step."""

    def __init__(self, cores: int) -> None:
        self._cores = self._left = cores
        self._taken_at = 0.0
        self._lock = threading.Lock()
        self.count = ctypes.c_int64(cores)

    def are_taken(self) -> bool:
        """Say whether other work has a core now: what a step takes meanwhile tells nothing about others.

        Work that had it for `MAX_TAKEN_S` has it no longer, and the training uses all cores again.
        """
        with self._lock:
            if self._left < self._cores and time.monotonic() - self._taken_at > MAX_TAKEN_S:
                self.count.value = self._cores
                return False
            return self._left < self._cores

    def take(self) -> None:
        """Keep a core free of training, for other work of this process, until `give_back` or `MAX_TAKEN_S`."""
        self._taken_at = time.monotonic()
        self._change(-1)

    def give_back(self) -> None:
        """Leave what was taken to the training again."""
        self._change(1)

    def _change(self, cores: int) -> None:
        with self._lock:
            self._left += cores
            self.count.value = max(1, self._left)


FREE_CORES = FreeCores(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Those of this process."""


class Team:
    """The number of threads of the next step: `most`, or one where that is quicker.

    Every `STEPS_BETWEEN_TRIALS` steps the other number is tried for a few, and kept if the quickest of them took less
    than 95 % of the quickest of the few before. That costs less than a hundredth.
    """

    def __init__(self, most: int) -> None:
        self.threads = most
        self._other = 1
        self._steps = 0
        self._tries = False
        self._last_s: deque[float] = deque(maxlen=STEPS_OF_A_TRIAL)
        self._before_s = 0.0

    @property
    def usual(self) -> int:
        """Return the number that is not on trial."""
        return self._other if self._tries else self.threads

    @property
    def steps_at_once(self) -> int:
        """Return how many steps may be taken before `took` must be told."""
        return 1 if self._tries else max(1, STEPS_BETWEEN_TRIALS - STEPS_OF_A_TRIAL - self._steps)

    def took(self, seconds: float, steps: int = 1) -> None:
        """Note what some steps with `threads` threads took; more than `steps_at_once` make a trial longer."""
        self._last_s.append(seconds / steps)
        self._steps += steps
        if self._steps < (STEPS_OF_A_TRIAL if self._tries else STEPS_BETWEEN_TRIALS):
            return
        if not self._tries:
            self._before_s = min(self._last_s)
            self._last_s.clear()
            self._change()
        elif min(self._last_s) > WORTH_CHANGING * self._before_s:
            self._change()
        self._tries = not self._tries
        self._steps = 0

    def _change(self) -> None:
        self.threads, self._other = self._other, self.threads
