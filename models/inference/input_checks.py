"""Find out why an image is unlikely to be a digit like MNIST's, on which the networks were trained.

MNIST's digits are light ink on black, scaled into 20x20 pixels and centred by mass in 28x28. Every limit lies beyond
the values of all 60,000 training digits; the comments give the smallest and the largest.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.inference.compiled_forward import all_likely

InputWarning = Literal["blank", "dark_on_light", "off_centre", "fills_the_frame", "noise"]

MIN_MEAN_LEVEL = 2.0  # training digits: 6.5 to 101
MAX_EDGE_LEVEL = 10.0  # of the outermost pixels: 0 to 8.3
LIGHT_GROUND = 100.0
MAX_OFFSET_PIXELS = 2.0  # of the centre of mass from the middle: 0.01 to 1.41
MAX_ROUGHNESS = 2.3  # sum of differences between neighbours over the sum of levels: 0.31 to 2.18
MAX_ROUGHNESS_ON_LIGHT = 0.6  # inverted digits: 0.03 to 0.27
MAX_LIT_SHARE = 0.5  # of pixels that are not 0: 0.04 to 0.45

WARNING_TEXT: dict[InputWarning, str] = {
    "blank": "there is almost no ink",
    "dark_on_light": "the ink is darker than its ground; the network was trained on light ink on black",
    "off_centre": "the ink's centre of mass is more than 2 pixels from the middle",
    "fills_the_frame": "the ink reaches the edge; MNIST's digits keep 4 pixels free",
    "noise": "neighbouring pixels differ more than in any digit, or more than half of all pixels are lit",
}


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
    """Return for each image uint8 [n, 28, 28] why it is unlikely to be a digit like MNIST's; usually nothing.

    Only images with a lit edge are checked for noise: that is faster, and noise reaches the edge.
    """
    if all_likely(images, MIN_MEAN_LEVEL * 784, MAX_OFFSET_PIXELS):
        return [()] * len(images)
    sums = (images.reshape(-1, 784).astype(np.float32) @ _SUMS).tolist()
    return [_unlikely(images[index], *of_image) for index, of_image in enumerate(sums)]


def _unlikely(
    image: NDArray[np.uint8], total: float, down: float, across: float, edge: float
) -> tuple[InputWarning, ...]:
    if total < MIN_MEAN_LEVEL * 784:
        return ("blank",)
    if edge > 0:
        roughness = _roughness(image, total)
        if edge > LIGHT_GROUND and roughness < MAX_ROUGHNESS_ON_LIGHT:
            return ("dark_on_light",)
        if roughness > MAX_ROUGHNESS or np.count_nonzero(image) > MAX_LIT_SHARE * 784:
            return ("noise",)
    warnings: tuple[InputWarning, ...] = ()
    if down * down + across * across > (MAX_OFFSET_PIXELS * total) ** 2:
        warnings += ("off_centre",)
    if edge > MAX_EDGE_LEVEL:
        warnings += ("fills_the_frame",)
    return warnings


def _roughness(image: NDArray[np.uint8], total: float) -> float:
    """Return the sum of differences between neighbours over the sum of levels."""
    levels = image.astype(np.int16)
    steps = np.abs(levels[1:] - levels[:-1]).sum() + np.abs(levels[:, 1:] - levels[:, :-1]).sum()
    return float(steps) / total
