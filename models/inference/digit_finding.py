"""Find the digit among the ink of a picture: without ruled lines, borders, specks and what the edge cuts off."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.inference.ink import Grey, Ink, Mask, blank, ink_mask

LINE_SHARE = 0.5
"""Share of a side that a ruled line spans at least."""

THIN_SHARE = 0.035
RUN_SHARE = 0.12
GAP_SHARE = 0.4
COVERED_SHARE = 0.6
"""Share of a line's length in which its ink is seen: the rest are gaps where strokes cross it."""

MIN_RULED_SIDE = 40
MIN_FRAMED_SHARE = 0.25
SECTORS, MIN_SECTORS = 36, 31
"""A frame is seen in nearly all directions from its middle; a 0 has nothing of this height inside."""

MIN_INK_PIXELS, MIN_INK_SHARE = 12, 0.01
MIN_PART_SIDE = 3
MIN_TILT, MAX_TILT = 0.7, 10.0


class Found(NamedTuple):
    """The ink without lines, the mask of the digit, and what was seen on the way."""

    levels: Grey
    mask: Mask
    has_lines: bool
    is_cut_off: bool
    """The digit touches an edge of the picture, but does not fill it from one edge to the opposite one."""

    has_company: bool
    """There is another part as high as a digit."""


class _Parts(NamedTuple):
    names: NDArray[np.int32]
    left: NDArray[np.int32]
    top: NDArray[np.int32]
    right: NDArray[np.int32]
    bottom: NDArray[np.int32]
    area: NDArray[np.int32]


def find_digit(ink: Ink) -> Found:
    """Return where the digit is. Raises `InvalidImage` if there is no ink but lines and specks."""
    levels, mask, has_lines = _unruled(ink)
    parts = _parts(mask)
    if parts.area.size == 0:
        raise blank()
    main = _inside_of_frame(parts, _main(parts, mask.shape))
    kept, has_company = _with_its_parts(parts, main)
    digit = np.isin(parts.names, kept + 1).astype(np.uint8)
    return Found(levels, digit, has_lines, _is_cut_off(digit), has_company)


def _unruled(ink: Ink) -> tuple[Grey, Mask, bool]:
    """Return the ink, straightened and without lines, its mask, and whether there were lines."""
    levels, mask = ink.levels, ink_mask(ink.levels, ink.noise)
    if min(levels.shape) < MIN_RULED_SIDE:
        return levels, mask, False
    tilt = _tilt_of_lines(mask)
    if abs(tilt) > MIN_TILT:
        levels = _turned(levels, tilt)
        mask = ink_mask(levels, ink.noise)
    without, lines = without_lines(levels, ink.noise)
    if not lines.any():
        return levels, mask, False
    mask_without = ink_mask(without, ink.noise)
    if mask_without.sum() < max(MIN_INK_PIXELS, MIN_INK_SHARE * mask.sum()):
        return levels, mask, False  # the lines are all that there is
    return without, mask_without, True


def _is_cut_off(digit: Mask) -> bool:
    top, bottom, left, right = digit[0].any(), digit[-1].any(), digit[:, 0].any(), digit[:, -1].any()
    return bool((top | bottom | left | right) and not (top and bottom) and not (left and right))


def _tilt_of_lines(mask: Mask) -> float:
    """Return by how many degrees thin lines across or down the picture are turned; 0 without such lines."""
    side = max(mask.shape)
    thin = max(3, round(THIN_SHARE * min(mask.shape)))
    thick = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))
    lines = cv2.HoughLinesP(
        cv2.subtract(mask, thick), 1, np.pi / 720, 60, minLineLength=0.5 * side, maxLineGap=0.05 * side
    )
    if lines is None:
        return 0.0
    across, down = (lines[..., 2] - lines[..., 0]).ravel(), (lines[..., 3] - lines[..., 1]).ravel()
    angles = (np.degrees(np.arctan2(down, across)) + 45) % 90 - 45
    angles = angles[np.abs(angles) <= MAX_TILT]
    return float(np.median(angles)) if angles.size else 0.0


def _turned(levels: Grey, degrees: float) -> Grey:
    height, width = levels.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turned = cv2.warpAffine(levels, turn, (width, height), flags=cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(turned, np.uint8)


def without_lines(levels: Grey, noise: float) -> tuple[Grey, Mask]:
    """Return the ink without the thin straight lines that cross the picture, and where these were."""
    across, at_rows = _without_rows(levels, noise)
    down, at_columns = _without_rows(np.ascontiguousarray(across.T), noise)
    return np.ascontiguousarray(down.T), at_rows | at_columns.T


def _without_rows(levels: Grey, noise: float) -> tuple[Grey, Mask]:
    """Take off lines from left to right: what a long level run has in common is the line's own ink."""
    height, width = levels.shape
    thin, run = max(3, round(THIN_SHARE * height)), max(11, round(RUN_SHARE * width))
    smooth = cv2.blur(levels, (7, 1))
    common = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    field = cv2.copyMakeBorder(common, thin, thin, 0, 0, cv2.BORDER_CONSTANT, value=0)  # the edge ends a line
    common = cv2.morphologyEx(field, cv2.MORPH_TOPHAT, np.ones((thin + 1, 1), np.uint8))[thin : thin + height]
    found = (common > max(noise, 12)).astype(np.uint8)
    gap = round(GAP_SHARE * width)
    field = cv2.copyMakeBorder(found, 0, 0, gap, gap, cv2.BORDER_CONSTANT, value=0)
    joined = cv2.morphologyEx(field, cv2.MORPH_CLOSE, np.ones((3, gap), np.uint8))[:, gap : gap + width]
    joined = np.ascontiguousarray(joined)
    _, names, stats, _ = cv2.connectedComponentsWithStats(joined)
    starts, widths = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_WIDTH]
    at_edge = (starts <= 0.04 * width) | (starts + widths >= 0.96 * width)
    is_long = (widths >= 0.75 * width) | (at_edge & (widths >= LINE_SHARE * width))
    long = [
        name
        for name in np.flatnonzero(is_long[1:]) + 1
        if (found * (names == name)).any(axis=0).sum() >= COVERED_SHARE * widths[name]
    ]
    if not long:
        return levels, np.zeros_like(levels)
    lines = np.isin(names, long).astype(np.uint8)
    # The line's level is that of its row: where a stroke goes along or across it, the line is below the stroke.
    level = cv2.dilate(common * lines, np.ones((3, gap | 1), np.uint8)).astype(np.float32)
    lines = np.asarray(cv2.dilate(lines, np.ones((3, 1), np.uint8)), np.uint8)
    left = np.clip((levels - level) * (255.0 / np.maximum(255.0 - level, 60.0)), 0, 255).astype(np.uint8)
    removed = np.where(lines > 0, left, levels)
    size = 2 * thin + 3
    bridged = cv2.morphologyEx(removed, cv2.MORPH_CLOSE, np.ones((size, 1), np.uint8))
    return np.where(lines > 0, np.minimum(np.maximum(removed, bridged), levels), levels), lines


def _parts(mask: Mask) -> _Parts:
    _, names, stats, _ = cv2.connectedComponentsWithStats(mask)
    left, top, width, height, area = np.asarray(stats[1:], np.int32).T
    return _Parts(np.asarray(names, np.int32), left, top, left + width, top + height, area)


def _main(parts: _Parts, shape: tuple[int, ...]) -> int:
    """Return the index of the largest part inside of the picture; of one at its edge if those inside are specks."""
    height, width = shape
    at_edge = (parts.left == 0) | (parts.top == 0) | (parts.right == width) | (parts.bottom == height)
    size = np.maximum(parts.right - parts.left, parts.bottom - parts.top)
    inside = np.where(at_edge | (size < MIN_PART_SIDE), 0, parts.area)
    largest = int(inside.argmax())
    is_digit = size[largest] >= 0.3 * size.max() or size[largest] >= 0.08 * min(shape)
    return largest if inside[largest] > 0 and is_digit else int(parts.area.argmax())


def _inside_of_frame(parts: _Parts, main: int) -> int:
    """Return the largest part inside of a circle or box around the digit, if `main` is one; else `main` itself."""
    heights = parts.bottom - parts.top
    is_inside = (parts.left > parts.left[main]) & (parts.right < parts.right[main])
    is_inside &= (parts.top > parts.top[main]) & (parts.bottom < parts.bottom[main])
    is_inside &= heights >= MIN_FRAMED_SHARE * heights[main]
    if not is_inside.any():
        return main
    rows, columns = np.nonzero(parts.names == main + 1)
    angles = np.arctan2(rows - (parts.top[main] + parts.bottom[main]) / 2, columns - columns.mean())
    sectors = np.unique(((angles + np.pi) * (SECTORS / (2 * np.pi))).astype(int) % SECTORS)
    if len(sectors) < MIN_SECTORS:
        return main
    return int(np.where(is_inside, parts.area, 0).argmax())


def _underlines(parts: _Parts, main: int) -> NDArray[np.bool_]:
    """Return which parts are bars below the main part: an underlined 7 is no 2."""
    widths, heights = parts.right - parts.left, parts.bottom - parts.top
    below = parts.top >= parts.bottom[main] - 0.05 * heights[main]
    is_bar = (widths >= 4 * heights) & (widths >= 0.5 * widths[main]) & (heights <= 0.15 * heights[main])
    return np.asarray(below & is_bar)


def _with_its_parts(parts: _Parts, main: int) -> tuple[NDArray[np.int64], bool]:
    """Return the indices of the main part and of the parts of the same digit, and whether there is another digit."""
    size = max(parts.right[main] - parts.left[main], parts.bottom[main] - parts.top[main])
    apart_across = np.maximum(parts.left - parts.right[main], parts.left[main] - parts.right)
    apart_down = np.maximum(parts.top - parts.bottom[main], parts.top[main] - parts.bottom)
    apart = np.maximum(apart_across, apart_down)
    is_large = parts.area >= 0.02 * parts.area[main]
    heights = parts.bottom - parts.top
    other = (
        (apart > 0.06 * size)
        & (apart_across > -0.25 * size)
        & (heights >= 0.5 * heights[main])
        & (parts.area >= 0.25 * parts.area[main])
    )
    around = (parts.left < parts.left[main]) & (parts.right > parts.right[main])  # the frame of the digit
    other &= ~around
    other[main] = False
    own = is_large & (apart <= 0.12 * size) & ~other & ~around & ~_underlines(parts, main)
    own[main] = True
    return np.flatnonzero(own), bool(other.any())
