"""Estimate ink and paper in a picture: which of both is darker, the light on the paper, the noise, and a threshold."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidImage

Grey = NDArray[np.uint8]
Mask = NDArray[np.uint8]
"""A mask [h, w] of 0 and 1."""

MIN_CONTRAST = 16  # grey levels between paper and ink below which there is no digit to see
DRAWING_STROKE, PHOTO_STROKE = 0.6, 0.25
"""Shares of the shorter side: what is wider is no stroke, but paper of another light."""

WEAK = 0.45
SIGMAS = 4.0


class Ink(NamedTuple):
    """Ink uint8 [h, w], 0 paper and 255 the darkest ink; whether it is darker than paper; the level of the noise.

    What is at or below `noise` is no ink; it is 0 in a picture without noise.
    """

    levels: Grey
    inverted: bool
    noise: float


def ink_of(picture: Grey) -> Ink:
    """Return the ink in a grey picture uint8 [h, w]. Raises `InvalidImage` if nothing stands out from the paper."""
    if int(picture.max()) - int(picture.min()) < MIN_CONTRAST:
        raise blank()
    inverted = ink_is_dark(picture)
    light = picture if inverted else 255 - picture  # ink is dark from here on
    is_even = light_is_even(light)
    share = 1.0 - light / np.maximum(_paper(light, is_even=is_even), 1.0)
    return _levels_of(np.maximum(share, 0.0).astype(np.float32), inverted, is_even=is_even)


def ink_is_dark(picture: Grey) -> bool:
    """Return whether ink is darker than paper: ink is the smaller part, so that the levels are skewed towards it."""
    levels = picture.astype(np.float32)
    if not light_is_even(picture):
        side = max(3, min(picture.shape) // 6) | 1
        return _skew(levels - cv2.blur(levels, (side, side))) < 0
    skew = _skew(levels)
    if abs(skew) > 1.2:
        return skew < 0
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return float(np.median(border)) > (float(picture.min()) + float(picture.max())) / 2


def light_is_even(picture: Grey) -> bool:
    """Return whether most pixels are near the darkest or near the lightest level, as in a scan or a drawing."""
    low, high = float(picture.min()), float(picture.max())
    margin = 0.15 * (high - low)
    return float(((picture < low + margin) | (picture > high - margin)).mean()) > 0.5


def _skew(levels: NDArray[np.float32]) -> float:
    apart = levels - levels.mean()
    squares = apart * apart
    spread = max(float(squares.mean()), 1e-4)
    return float((squares * apart).mean()) / float(spread**1.5)


def _paper(light: Grey, *, is_even: bool) -> NDArray[np.float32]:
    """Return the level of the paper at each pixel: a grey closing, which is wider than strokes and keeps shadows.

    In a photograph, what is dark along the edge goes on outside of it: it is a table or a shadow, and no ink.
    """
    side = max(3, int((DRAWING_STROKE if is_even else PHOTO_STROKE) * min(light.shape))) | 1
    margin = 0 if is_even else side // 2
    padded = cv2.copyMakeBorder(light, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    height, width = light.shape
    return closed[margin : margin + height, margin : margin + width].astype(np.float32)


def _levels_of(share: NDArray[np.float32], inverted: bool, *, is_even: bool) -> Ink:
    paper = share[share <= 0.25 * share.max()] if is_even else share  # a drawing may have more ink than paper
    floor = float(np.median(paper))
    noise = floor - float(np.percentile(paper, 15.87))  # below the median alone: above it there is ink
    share = np.maximum(share - floor, 0.0)
    start = SIGMAS * noise
    above = share[share > max(start, 2 / 255)]
    if above.size == 0:
        raise blank()
    top = float(np.percentile(above, 98))
    if top * 255 < MIN_CONTRAST:
        raise blank()
    levels = np.clip(share * (255.0 / top), 0, 255).astype(np.uint8)
    return Ink(levels, inverted, start * 255.0 / top)


def ink_mask(levels: Grey, noise: float) -> Mask:
    """Return the mask of ink by a threshold with hysteresis; `noise` is the level from which ink is no noise."""
    above = levels[levels > noise]
    if above.size == 0:
        return np.zeros_like(levels)
    strong, _ = cv2.threshold(above, 0, 255, cv2.THRESH_OTSU)
    strong = min(max(float(strong), noise, 50.0), 170.0)
    return _connected(levels, strong, max(WEAK * strong, noise))


def _connected(levels: Grey, strong: float, weak: float) -> Mask:
    """Return the pixels above `weak` whose component has one above `strong` (hysteresis)."""
    count, names = cv2.connectedComponents((levels > weak).astype(np.uint8))
    has_strong = np.zeros(count, np.uint8)
    has_strong[names[levels > strong]] = 1
    has_strong[0] = 0
    return np.asarray(has_strong[names], np.uint8)


def blank() -> InvalidImage:
    """Return the error of a picture without ink."""
    return InvalidImage("The picture is blank: no ink stands out from the paper.", "Send a picture of one digit.")
