"""Find out why an image is unlikely to be a digit like MNIST's, on which the networks were trained.

MNIST's digits are light ink on black, scaled into 20x20 pixels and centred by mass in 28x28. Every limit lies beyond
the values of all 60,000 training digits; the comments give the smallest and the largest.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.inference.compiled_forward import Likely, all_likely

InputWarning = Literal[
    "blank",
    "dark_on_light",
    "off_centre",
    "fills_the_frame",
    "too_small",
    "faint",
    "too_much_ink",
    "noise",
    "several_digits",
    "cut_off",
    "unsure",
]

BLANK_LEVEL = 2.0  # the mean level of an image; training digits: 6.49 to 101.4
MIN_MEAN_LEVEL = 6.4
MAX_MEAN_LEVEL = 101.5
MIN_BRIGHTEST = 230  # the brightest pixel of training digits: 254 or 255; a JPEG of one may lose some levels
MAX_EDGE_LEVEL = 10.0  # of the outermost pixels: 0 to 8.3
LIGHT_GROUND = 100.0
MAX_OFFSET_PIXELS = 2.0  # of the centre of mass from the middle: 0.01 to 1.41
MAX_ROUGHNESS = 2.3  # sum of differences between neighbours over the sum of levels: 0.31 to 2.18
MAX_ROUGHNESS_ON_LIGHT = 0.6  # inverted digits: 0.03 to 0.27
FAINT_LEVEL = 10  # of 255: what is fainter may be the noise of a JPEG
CLEAR_LEVEL = 50
MAX_LIT = 351  # pixels that are not 0: 34 to 351
MAX_NOISE_LIT = 392  # pixels that are not 0
MIN_SIDE, MAX_SIDE = 19, 20  # the longer side of the ink in pixels: 19 or 20

WARNING_TEXT: dict[InputWarning, str] = {
    "blank": "there is almost no ink",
    "dark_on_light": "the ink is darker than its ground; the network was trained on light ink on black",
    "off_centre": "the ink's centre of mass is more than 2 pixels from the middle",
    "fills_the_frame": "the ink is larger than 20 pixels or reaches the edge; MNIST's digits keep 4 pixels free",
    "too_small": "the longer side of the ink is shorter than the 20 pixels of MNIST's digits",
    "faint": "the ink is fainter or thinner than that of any digit; the brightest pixel of a digit has level 255",
    "too_much_ink": "more pixels are lit than in any digit",
    "noise": "neighbouring pixels differ more than in any digit, or more than half of all pixels are lit",
    "several_digits": "the picture has more than one digit, and one of them was read",
    "cut_off": "the edge of the picture cuts the digit off",
    "unsure": "the picture is not clean, and the network is not sure of the digit",
}

LIKELY = Likely(
    least_total=MIN_MEAN_LEVEL * 784,
    most_total=MAX_MEAN_LEVEL * 784,
    most_offset=MAX_OFFSET_PIXELS,
    least_brightest=MIN_BRIGHTEST,
    most_lit=MAX_LIT,
    least_side=MIN_SIDE,
    most_side=MAX_SIDE,
    faint_level=FAINT_LEVEL,
    clear_level=CLEAR_LEVEL,
)


def _sums() -> NDArray[np.float32]:
    """Return a matrix [784, 4] for sums over an image.

    An image times it gives the sum of levels, the moments down and across, and the mean at the edge.
    """
    places = np.arange(28, dtype=np.float32) - np.float32(13.5)
    edge = np.zeros((28, 28), np.float32)
    edge[::27] += 1 / 112
    edge[:, ::27] += 1 / 112
    ones = np.ones((28, 28), np.float32)
    return np.stack([ones, ones * places[:, None], ones * places, edge]).reshape(4, 784).T.copy()


_SUMS = _sums()


def input_warnings(images: NDArray[np.uint8]) -> list[tuple[InputWarning, ...]]:
    """Return for each image uint8 [n, 28, 28] why it is unlikely to be a digit like MNIST's; usually nothing."""
    if all_likely(images, LIKELY):
        return [()] * len(images)
    sums = (images.reshape(-1, 784).astype(np.float32) @ _SUMS).tolist()
    return [_unlikely(images[index], *of_image) for index, of_image in enumerate(sums)]


def _unlikely(
    image: NDArray[np.uint8], total: float, down: float, across: float, edge: float
) -> tuple[InputWarning, ...]:
    if total < BLANK_LEVEL * 784:
        return ("blank",)
    if edge > 0:  # noise reaches the edge
        roughness = _roughness(image, total)
        if edge > LIGHT_GROUND and roughness < MAX_ROUGHNESS_ON_LIGHT:
            return ("dark_on_light",)
        if roughness > MAX_ROUGHNESS or np.count_nonzero(image) > MAX_NOISE_LIT:
            return ("noise",)
    found: dict[InputWarning, bool] = {
        "off_centre": down * down + across * across > (MAX_OFFSET_PIXELS * total) ** 2,
        "fills_the_frame": edge > MAX_EDGE_LEVEL or _longer_side(image, CLEAR_LEVEL) > MAX_SIDE,
        "too_small": _longer_side(image, FAINT_LEVEL) < MIN_SIDE,
        "faint": total < MIN_MEAN_LEVEL * 784 or int(image.max()) < MIN_BRIGHTEST,
        "too_much_ink": total > MAX_MEAN_LEVEL * 784 or int((image > FAINT_LEVEL).sum()) > MAX_LIT,
    }
    return tuple(kind for kind, is_so in found.items() if is_so)


def _longer_side(image: NDArray[np.uint8], level: int) -> int:
    lit = image > level
    sides = [np.flatnonzero(lit.any(axis=axis)) for axis in (0, 1)]
    return max(int(places[-1] - places[0]) + 1 if places.size else 0 for places in sides)


def _roughness(image: NDArray[np.uint8], total: float) -> float:
    """Return the sum of differences between neighbours over the sum of levels."""
    levels = image.astype(np.int16)
    steps = np.abs(levels[1:] - levels[:-1]).sum() + np.abs(levels[:, 1:] - levels[:, :-1]).sum()
    return float(steps) / total
