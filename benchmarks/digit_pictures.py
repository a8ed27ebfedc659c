"""Make pictures of handwritten digits as people send them: scans, window shots and photographs.

A digit is ink on a canvas in [0, 1]: a digit of MNIST enlarged, or the same with the line of a thin pen. Each kind adds
what cameras, paper and screens add. The pictures are files (PNG or JPEG), as a client posts them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Ink = NDArray[np.float32]
"""A canvas [h, w] of shares of ink, 0 to 1."""

Random = np.random.Generator
PHOTO = (600, 800)
SQUARE = (200, 200)
ENLARGED = 280
"""Pixels of a side to which 28 are enlarged before the pen is made thinner."""


class Picture(NamedTuple):
    """A file, and its media type."""

    content: bytes
    media_type: str


def clean(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a digit of MNIST as a clean drawing: black on white, without noise."""
    ink = on_canvas(of_mnist(digit), SQUARE, random.uniform(60, 120), random)
    return png(255 * (1 - ink))


def clean_pen(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Return a digit of MNIST drawn with a thin pen, without noise."""
    ink = on_canvas(of_pen(digit, random), PHOTO, random.uniform(250, 420), random)
    return png(255 * (1 - ink))


# -- ink ---------------------------------------------------------------------------------------------------------


def of_mnist(digit: NDArray[np.uint8]) -> Ink:
    """Return a digit of MNIST enlarged ten times, with smooth edges."""
    large = cv2.resize(digit.astype(np.float32) / 255, (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip((large - 0.25) / 0.5, 0, 1), np.float32)


def of_pen(digit: NDArray[np.uint8], random: Random) -> Ink:
    """Return the middle line of a digit of MNIST, drawn with a pen of 5 to 12 pixels of `ENLARGED`."""
    line = thinned(of_mnist(digit) > 0.5)
    width = int(random.integers(5, 13))
    drawn = cv2.dilate(line.astype(np.float32), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 1.0), np.float32)


def thinned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the middle line, one pixel wide, of a shape (Zhang and Suen 1984, Communications of the ACM 27)."""
    field = np.pad(mask, 1).astype(np.uint8)
    while True:
        before = int(field.sum())
        for step in (0, 1):
            ring = [
                np.roll(field, shift, (0, 1))
                for shift in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            neighbours = sum(part.astype(int) for part in ring)
            rises = sum((ring[i] == 0) & (ring[(i + 1) % 8] == 1) for i in range(8))
            north, east, south, west = ring[0], ring[2], ring[4], ring[6]
            first = north * east * south if step == 0 else north * east * west
            second = east * south * west if step == 0 else north * south * west
            gone = (field == 1) & (neighbours >= 2) & (neighbours <= 6) & (rises == 1) & (first == 0) & (second == 0)
            field[gone] = 0
        if int(field.sum()) == before:
            return np.asarray(field[1:-1, 1:-1] == 1)


def on_canvas(ink: Ink, shape: tuple[int, int], side: float, random: Random, margin: float = 0.12) -> Ink:
    """Return the ink scaled so that its 28x28 field has `side` pixels, at a random place of a canvas [h, w]."""
    turn = cv2.getRotationMatrix2D((ENLARGED / 2, ENLARGED / 2), float(random.uniform(-4, 4)), side / ENLARGED)
    rows, columns = np.nonzero(ink > 0.1)
    corners = np.array([[c, r, 1] for r in (rows.min(), rows.max()) for c in (columns.min(), columns.max())]) @ turn.T
    low, high = corners.min(0), corners.max(0)
    for axis, length in ((0, shape[1]), (1, shape[0])):
        free = length * (1 - 2 * margin) - (high[axis] - low[axis])
        turn[axis, 2] += length * margin - low[axis] + random.uniform(0, 1) * max(free, 0) + min(free, 0) / 2
    moved = cv2.warpAffine(
        ink, turn, (shape[1], shape[0]), flags=cv2.INTER_AREA if side < ENLARGED else cv2.INTER_CUBIC
    )
    return np.asarray(np.clip(moved, 0, 1), np.float32)


# -- files -------------------------------------------------------------------------------------------------------


def png(levels: NDArray[np.floating]) -> Picture:
    """Return grey levels or RGBA, 0 to 255, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return Picture(buffer.getvalue(), "image/png")


def jpeg(levels: NDArray[np.floating], random: Random) -> Picture:
    """Return grey levels, 0 to 255, as JPEG of a camera's quality."""
    buffer = io.BytesIO()
    grey = Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    grey.convert("RGB").save(buffer, "JPEG", quality=int(random.integers(70, 95)))
    return Picture(buffer.getvalue(), "image/jpeg")


# -- scans and screens ---------------------------------------------------------------------------------------------


def cell_border(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Leave a table cell's border on the picture, on all or some sides."""
    levels = 255 * (1 - on_canvas(of_mnist(digit), SQUARE, random.uniform(80, 140), random, 0.15))
    width, dark = int(random.integers(1, 6)), float(random.choice([0, 0, 60, 120]))
    for side in range(4):
        if random.random() < 0.85 or side == 0:
            gap = int(random.integers(0, 5))
            strip = np.rot90(levels, side)  # a view
            strip[gap : gap + width] = dark
    return png(levels)


def speck(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Lay specks of dust into the corners."""
    levels = 250 * (1 - on_canvas(of_mnist(digit), SQUARE, random.uniform(60, 120), random, 0.22))
    for _ in range(int(random.integers(1, 5))):
        at = [int(random.choice([random.integers(4, 32), random.integers(168, 196)])) for _ in range(2)]
        cv2.circle(levels, at, int(random.integers(1, 4)), float(random.uniform(0, 90)), -1)
    return png(levels)


def ruled_paper(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Rule the paper, in one direction or in squares; the lines go through the digit."""
    ink = on_canvas(of_mnist(digit), SQUARE, random.uniform(90, 150), random)
    levels = np.full(SQUARE, 250.0, np.float32)
    rule(levels, int(random.integers(20, 45)), int(random.integers(1, 3)), float(random.uniform(90, 190)), random)
    return png(np.minimum(levels, 250 * (1 - ink) + 20 * ink))


def window_shot(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Shoot a window: round corners, a shadow, transparent margins."""
    field, card = 280, 240
    ink = on_canvas(of_mnist(digit), (card, card), random.uniform(80, 160), random)
    alpha = np.zeros((field, field), np.float32)
    place, radius = int(random.integers(12, 28)), int(random.integers(6, 18))
    shape = np.zeros_like(alpha)
    cv2.rectangle(shape, (place + radius, place), (place + card - radius, place + card), 1.0, -1)
    cv2.rectangle(shape, (place, place + radius), (place + card, place + card - radius), 1.0, -1)
    for x in (place + radius, place + card - radius):
        for y in (place + radius, place + card - radius):
            cv2.circle(shape, (x, y), radius, 1.0, -1, cv2.LINE_AA)
    shadow = cv2.GaussianBlur(shape, (0, 0), 8) * float(random.uniform(0.2, 0.5))
    alpha = np.maximum(shape, shadow)
    levels = np.zeros_like(alpha)
    levels[place : place + card, place : place + card] = 255 * (1 - ink)
    levels = levels * shape
    return png(np.dstack([levels, levels, levels, 255 * alpha]))


# -- photographs ---------------------------------------------------------------------------------------------------


def photo_noise(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Add a sensor's noise of sigma 4 to 9."""
    return jpeg(noisy(photo(digit, 1.0, random), random.uniform(4, 9), random), random)


def photo_falloff(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Let the light fall by 10 to 40 % across the picture."""
    return jpeg(noisy(photo(digit, falling_light(PHOTO, random.uniform(0.1, 0.4), random), random), 2, random), random)


def photo_grey(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Write with a grey pencil on grey paper."""
    return jpeg(noisy(photo(digit, random.uniform(0.5, 0.8), random, contrast=(0.3, 0.6)), 3, random), random)


def photo_uneven(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Light a rough paper by a lamp at one side."""
    return jpeg(noisy(paper(photo(digit, lamp(random), random), random), 2, random), random)


def photo_shadow(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Lay the shadow of a hand over a part of the picture, often over the digit."""
    return jpeg(noisy(paper(photo(digit, lamp(random) * shadow(random), random), random), 2, random), random)


def photo_lines(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Write on ruled paper under a lamp."""
    levels = photo(digit, lamp(random), random)
    ruled = np.full(PHOTO, 255.0, np.float32)
    rule(ruled, int(random.integers(50, 90)), int(random.integers(1, 4)), float(random.uniform(140, 210)), random)
    return jpeg(noisy(paper(np.asarray(levels * ruled / 255, np.float32), random), 2, random), random)


def photo_small(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Let the digit take a tenth to a quarter of the height."""
    return jpeg(noisy(paper(photo(digit, lamp(random), random, side=(85, 200)), random), 2, random), random)


def photo_table(digit: NDArray[np.uint8], random: Random) -> Picture:
    """Turn the sheet on a dark table, whose edge is in the picture, in half of the cases under a shadow."""
    levels = paper(photo(digit, lamp(random), random, margin=0.2), random)
    turn = cv2.getRotationMatrix2D((PHOTO[1] / 2, PHOTO[0] / 2), float(random.uniform(-7, 7)), 0.97)
    sheet = cv2.warpAffine(np.ones(PHOTO, np.float32), turn, PHOTO[::-1], flags=cv2.INTER_LINEAR)
    turned = cv2.warpAffine(levels, turn, PHOTO[::-1], flags=cv2.INTER_LINEAR)
    table = float(random.uniform(25, 80))
    lit = (turned * sheet + table * (1 - sheet)) * (shadow(random) if random.random() < 0.5 else 1)
    return jpeg(noisy(np.asarray(lit, np.float32), 2, random), random)


def photo(
    digit: NDArray[np.uint8],
    light: Ink | float,
    random: Random,
    side: tuple[float, float] = (260, 480),
    margin: float = 0.1,
    contrast: tuple[float, float] = (0.5, 0.85),
) -> Ink:
    """Return the grey levels of a digit on paper under a light in [0, 1]; half of the digits are of a thin pen."""
    ink = of_pen(digit, random) if random.random() < 0.5 else of_mnist(digit)
    share = on_canvas(ink, PHOTO, random.uniform(*side), random, margin) * random.uniform(*contrast)
    soft = cv2.GaussianBlur(share.astype(np.float32), (0, 0), float(random.uniform(0.6, 1.6)))
    return np.asarray(random.uniform(200, 245) * light * (1 - soft), np.float32)


def noisy(levels: Ink, sigma: float, random: Random) -> Ink:
    """Return grey levels with the noise of a sensor."""
    return np.asarray(levels + random.normal(0, sigma, levels.shape), np.float32)


def paper(levels: Ink, random: Random) -> Ink:
    """Return grey levels with the fibres of a rough paper: noise drawn out along the rows."""
    fibres = cv2.GaussianBlur(random.normal(0, 1, levels.shape).astype(np.float32), (0, 0), sigmaX=12, sigmaY=0.8)
    return np.asarray(levels * (1 + fibres / fibres.std() * random.uniform(0.005, 0.02)), np.float32)


def falling_light(shape: tuple[int, int], share: float, random: Random) -> Ink:
    """Return a light that falls by a share across the picture, in a random direction."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    along = rows * np.sin(angle) + columns * np.cos(angle)
    return np.asarray(1 - share * (along - along.min()) / (along.max() - along.min()), np.float32)


def lamp(random: Random) -> Ink:
    """Return the light of a lamp outside of the picture, which falls with the distance."""
    rows, columns = np.mgrid[0 : PHOTO[0], 0 : PHOTO[1]]
    angle = random.uniform(0, 2 * np.pi)
    far = random.uniform(500, 900)
    row, column = PHOTO[0] / 2 + far * np.sin(angle), PHOTO[1] / 2 + far * np.cos(angle)
    light = 1 / (1 + ((rows - row) ** 2 + (columns - column) ** 2) / random.uniform(700, 1400) ** 2)
    return np.asarray(light / light.max(), np.float32)


def shadow(random: Random) -> Ink:
    """Return a shadow with a soft edge that goes through the middle of the picture."""
    rows, columns = np.mgrid[0 : PHOTO[0], 0 : PHOTO[1]].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    along = (rows - PHOTO[0] / 2) * np.sin(angle) + (columns - PHOTO[1] / 2) * np.cos(angle)
    share = 1 / (1 + np.exp(-(along + random.uniform(-120, 120)) / random.uniform(4, 25)))
    return np.asarray(1 - random.uniform(0.3, 0.55) * share, np.float32)


def rule(levels: NDArray[np.floating], step: int, width: int, level: float, random: Random) -> None:
    """Draw lines on paper, one below the other, in some cases across as well."""
    start = int(random.integers(0, step))
    views = [levels, levels.T] if random.random() < 0.3 else [levels]
    for view in views:
        for top in range(start, view.shape[0], step):
            view[top : top + width] = level


KINDS: dict[str, Callable[[NDArray[np.uint8], Random], Picture]] = {
    "cell border": cell_border,
    "speck": speck,
    "ruled paper": ruled_paper,
    "window shot": window_shot,
    "photo, noise": photo_noise,
    "photo, light falls": photo_falloff,
    "photo, grey": photo_grey,
    "photo, uneven": photo_uneven,
    "photo, shadow": photo_shadow,
    "photo, ruled": photo_lines,
    "photo, small": photo_small,
    "photo, table's edge": photo_table,
}
"""The kinds of pictures, and the function that makes one of a digit uint8 [28, 28]."""
