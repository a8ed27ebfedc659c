"""Convert a picture of a digit into a 28x28 image by the procedure that made MNIST.

LeCun et al. (1998, Gradient-based learning applied to document recognition, section III.A) scaled each digit to fit a
20x20 box, keeping its aspect ratio, and placed its centre of mass at the centre of a 28x28 field. Before that, `ink`
separates the ink from the paper and its light, and `digit_finding` the digit from lines, borders and specks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import InvalidImage
from models.inference.digit_finding import find_digit
from models.inference.fitted_digit import SIDE, FitDoubt, FittedDigit
from models.inference.ink import Grey, Mask, blank, ink_is_dark, ink_of

BOX = 20
WORK_SIDE = 256
"""Larger pictures are reduced to this first; it averages noise, and a digit is scaled to 20 pixels anyway."""

LIT = 38  # of 255: less counts as paper when the digit is cropped
THIN = 0.11
"""Width of a stroke as a share of the digit's longer side, below which it is thickened; MNIST's median is .13."""

MIN_THICKENED_SIDE = 40
LEAST_SIDE = 8
"""Pixels of a digit's longer side below which its shape is not seen."""

cv2.setNumThreads(1)  # requests run on threads of their own


def fit_digit(picture: Grey) -> FittedDigit:
    """Find, crop, scale and centre the digit in a grey picture uint8 [h, w], 0 black and 255 white.

    Ink may be darker or lighter than the paper. The digit may lie in a shadow, on ruled paper, in a border, and among
    specks. `doubts` say what may be wrong with the result: another digit in the picture, a digit that the edge cuts
    off or that is tiny, or a picture that had to be cleaned. Raises `InvalidImage` if nothing stands out from the
    paper.
    """
    try:
        ink = ink_of(_reduced(picture))
    except InvalidImage:
        # A line of one or two pixels in a large picture is averaged away; the darkest pixels keep it.
        if max(picture.shape) <= WORK_SIDE or not ink_is_dark(picture):
            raise
        ink = ink_of(_reduced(np.asarray(cv2.erode(picture, np.ones((3, 3), np.uint8)), np.uint8)))
    found = find_digit(ink)
    box, mask = _cropped(found.levels, found.mask)
    seen: dict[FitDoubt, bool] = {
        "several_digits": found.has_company,
        "cut_off": found.is_cut_off and picture.shape != (SIDE, SIDE),  # the tail of an MNIST digit may touch the edge
        "tiny": max(box.shape) < LEAST_SIDE,
        "cleaned": found.has_lines or ink.noise > 0,
    }
    image = _centred_by_mass(_scaled_to_box(_thickened(_saturated(box, mask), mask)))
    return FittedDigit(image, ink.inverted, tuple(doubt for doubt, is_seen in seen.items() if is_seen))


def _reduced(picture: Grey) -> Grey:
    factor = max(picture.shape) / WORK_SIDE
    if factor <= 1:
        return picture
    size = max(1, round(picture.shape[1] / factor)), max(1, round(picture.shape[0] / factor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _cropped(levels: Grey, mask: Mask) -> tuple[NDArray[np.float32], Mask]:
    """Return the ink of the digit and its mask, cropped to what is lit; the soft edge of a stroke belongs to it."""
    ink = levels * cv2.dilate(mask, np.ones((3, 3), np.uint8))
    rows, columns = _extent(ink)
    return ink[rows, columns].astype(np.float32), np.ascontiguousarray(mask[rows, columns])


def _extent(ink: NDArray[np.uint8] | NDArray[np.float32]) -> tuple[slice, slice]:
    lit = ink > LIT
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if rows.size == 0:
        raise blank()
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _saturated(box: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """Return the ink with the middle of strokes at 255, as MNIST's are."""
    core = float(np.percentile(box[mask > 0], 60))
    return np.asarray(np.minimum(box * (255.0 / max(core, 1.0)), 255.0), np.float32)


def _thickened(box: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """Return thin strokes grown to the width of MNIST's, by a disc (a grey dilation)."""
    size = max(box.shape)
    grow = round((THIN - _stroke_width(mask) / size) * size)
    if size < MIN_THICKENED_SIDE or grow < 1:
        return box
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grow + 1, grow + 1))
    field = cv2.copyMakeBorder(box, grow, grow, grow, grow, cv2.BORDER_CONSTANT, value=0)
    grown = np.asarray(cv2.dilate(field, disc), np.float32)
    return grown[_extent(grown)]


def _stroke_width(mask: Mask) -> float:
    """Return the median width of strokes in pixels: twice the distance to the paper, where that is greatest."""
    field = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(field, cv2.DIST_L2, 5)
    ridge = distance[(distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8))) & (distance > 0)]
    return 2.0 * float(np.median(ridge))


def _scaled_to_box(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = ink.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled = Image.fromarray(ink).resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    levels = np.clip(np.asarray(scaled, dtype=np.float32), 0, 255)
    return np.asarray(levels * (255.0 / float(levels.max())), np.float32)


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
