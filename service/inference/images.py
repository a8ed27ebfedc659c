"""Images as the network gets them, and how they were read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidImage
from models.inference.fitted_digit import SIDE, FitDoubt, FittedDigit

Pixels = NDArray[np.uint8]
Scale = Literal["auto", "255", "1"]
ReadScale = Literal["0-255", "0-1", "mnist-normalized"]
Form = Literal["png", "jpeg", "webp", "avif", "bmp", "gif", "raw", "npy", "json"]
MAX_IMAGES = 10_000
MAX_SIDE = 4096
"""Of a picture of numbers."""

MAX_PIXELS = 100_000_000
"""Of all pictures of a form together."""

IMAGE_PIXELS = SIDE * SIDE
FIT_HINT = "Send 28x28 pixels, or add ?fit=true to have the digit found, scaled and centred as in MNIST."


class ReadImages(NamedTuple):
    """Images uint8 [n, 28, 28] as the network gets them, and how they were read.

    `inverted` and `doubts` have an entry for each image if they were `fitted`, else they are empty.
    """

    images: Pixels
    form: Form
    scale: ReadScale = "0-255"
    batch: bool = False
    fitted: bool = False
    inverted: tuple[bool, ...] = ()
    doubts: tuple[tuple[FitDoubt, ...], ...] = ()
    clipped: bool = False
    """Whether numbers a little beyond 0 or 1 were clipped."""


def check_count(count: int) -> None:
    """Raise `InvalidImage` if a request holds too many images."""
    if count > MAX_IMAGES:
        raise InvalidImage(f"{count} images are more than {MAX_IMAGES} in one request.", "Send several requests.")


def as_seen(picture: Pixels, *, fit: bool) -> FittedDigit:
    """Return a grey picture as the network gets it. Raises `InvalidImage`."""
    if not fit:
        return FittedDigit(picture, inverted=False)
    from models.inference.digit_fitting import fit_digit  # loads OpenCV, which takes 17 MiB

    return fit_digit(picture)


def gather_images(read: Iterable[FittedDigit], form: Form, *, fit: bool, batch: bool) -> ReadImages:
    """Return the pictures of a request as one batch."""
    images, inverted, doubts = zip(*read, strict=True)
    return ReadImages(np.stack(images), form, "0-255", batch, fit, tuple(inverted), tuple(doubts))
