"""Convert a picture of a digit into a 28x28 image by the procedure that made MNIST.

LeCun et al. (1998, Gradient-based learning applied to document recognition, section III.A) scaled each digit to fit a
20x20 box, keeping its aspect ratio, and placed its centre of mass at the centre of a 28x28 field.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import InvalidImage

SIDE = 28
BOX = 20
INK_THRESHOLD = 0.15  # of the strongest ink: less counts as paper when the digit is cropped
MIN_CONTRAST = 16  # grey levels between paper and ink below which there is no digit to see

Grey = NDArray[np.uint8]


class FittedDigit(NamedTuple):
    """The image uint8 [28, 28] for the network, and whether dark ink on light paper was inverted for it."""

    image: Grey
    inverted: bool


def fit_digit(picture: Grey) -> FittedDigit:
    """Crop, scale and centre the digit in a grey picture uint8 [h, w], 0 black and 255 white.

    The paper is the median of the border; if it is lighter than the ink, the picture is inverted. Raises
    `InvalidImage` if nothing stands out from the paper.
    """
    ink, inverted = _ink(picture)
    box = _scaled_to_box(_cropped(ink))
    return FittedDigit(_centred_by_mass(box), inverted)


def _ink(picture: Grey) -> tuple[NDArray[np.float32], bool]:
    """Return how far each pixel is from the paper, float32 in 0..255, and whether ink is darker than paper."""
    levels = picture.astype(np.float32)
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    paper = float(np.median(border))
    darker, lighter = paper - float(levels.min()), float(levels.max()) - paper
    inverted = darker > lighter
    contrast = max(darker, lighter)
    if contrast < MIN_CONTRAST:
        raise InvalidImage("The picture is blank: no ink stands out from the paper.", "Send a picture of one digit.")
    ink = (paper - levels) if inverted else (levels - paper)
    return np.clip(ink, 0, None) * (255.0 / contrast), inverted


def _cropped(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    lit = ink > INK_THRESHOLD * 255.0
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled_to_box(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = ink.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled = Image.fromarray(ink).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    return np.clip(np.asarray(scaled, dtype=np.float32), 0, 255)


def _centred_by_mass(ink: NDArray[np.float32]) -> Grey:
    height, width = ink.shape
    mass = float(ink.sum())
    row = float((ink.sum(axis=1) * np.arange(height)).sum()) / mass
    column = float((ink.sum(axis=0) * np.arange(width)).sum()) / mass
    top = min(max(round(SIDE / 2 - row), 0), SIDE - height)
    left = min(max(round(SIDE / 2 - column), 0), SIDE - width)
    field = np.zeros((SIDE, SIDE), dtype=np.uint8)
    field[top : top + height, left : left + width] = np.rint(ink).astype(np.uint8)
    return field
