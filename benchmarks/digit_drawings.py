"""Make drawings of digits as hands draw them: slanted, thick, thin, off the middle, with gaps, shaky, turned.

The line is the middle line of a digit of MNIST, drawn black on white with a pen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.digit_pictures import ENLARGED, SQUARE, Ink, Picture, Random, of_mnist, on_canvas, png, thinned

PEN, THICK_PEN, THIN_PEN = (12, 22), (30, 38), (3, 6)
"""The widths of pens in pixels of `ENLARGED`; the lines of MNIST have 20 to 40."""
SIDE = 170.0
SLANT = 0.3
"""Columns by which a row is moved against the next one: 17 degrees."""
GAPS, GAP_RADIUS = 3, 8
SHAKE, WAVE = 4.0, 30.0
"""The amplitude and the length of the waves of a shaky hand, in pixels of `ENLARGED`."""
TURN = 20.0


def slanted(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a drawing that leans to the right or to the left."""
    lean = float(random.choice([-SLANT, SLANT]))
    moved = np.array([[1, lean, -lean * ENLARGED / 2], [0, 1, 0]])
    return _drawing(cv2.warpAffine(_line(digit, random, PEN), moved, (ENLARGED, ENLARGED)), random)


def thick(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a drawing with a thick pen."""
    return _drawing(_line(digit, random, THICK_PEN), random)


def thin(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a drawing with a thin pen."""
    return _drawing(_line(digit, random, THIN_PEN), random)


def off_centre(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a small drawing anywhere on the board."""
    return _drawing(_line(digit, random, PEN), random, SIDE / 2)


def with_gaps(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a drawing whose pen left the board for a moment, three times."""
    ink = _line(digit, random, PEN)
    rows, columns = np.nonzero(ink > 0.5)
    for place in random.choice(len(rows), GAPS, replace=False):
        cv2.circle(ink, (int(columns[place]), int(rows[place])), GAP_RADIUS, 0.0, -1)
    return _drawing(ink, random)


def shaky(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a drawing by a hand that shakes."""
    rows, columns = np.mgrid[:ENLARGED, :ENLARGED].astype(np.float32)
    first, second = random.uniform(0, 2 * math.pi, 2)
    across = columns + SHAKE * np.sin(2 * math.pi * rows / WAVE + first)
    down = rows + SHAKE * np.sin(2 * math.pi * columns / WAVE + second)
    ink = cv2.remap(_line(digit, random, PEN), across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)
    return _drawing(ink, random)


def turned(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a drawing turned by 20 degrees, either way."""
    angle = float(random.choice([-TURN, TURN]))
    turn = cv2.getRotationMatrix2D((ENLARGED / 2, ENLARGED / 2), angle, 0.8)
    return _drawing(cv2.warpAffine(_line(digit, random, PEN), turn, (ENLARGED, ENLARGED)), random)


def _line(digit: NDArray[np.uint8], random: Random, widths: tuple[int, int]) -> Ink:
    width = int(random.integers(*widths))
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    drawn = cv2.dilate(thinned(of_mnist(digit) > 0.5).astype(np.float32), pen)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 1.0), np.float32)


def _drawing(ink: NDArray[Any], random: Random, side: float = SIDE) -> Picture:
    return png(255 * (1 - on_canvas(np.asarray(ink, np.float32), SQUARE, side, random, margin=0.03)))


DRAWINGS: dict[str, Callable[[NDArray[np.uint8], Random], Picture]] = {
    "slanted": slanted,
    "thick": thick,
    "thin": thin,
    "off the middle": off_centre,
    "with gaps": with_gaps,
    "shaky": shaky,
    "turned by 20 degrees": turned,
}
"""The kinds of drawings, and the function that makes one of a digit uint8 [28, 28]."""
