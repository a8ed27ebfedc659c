"""Images as the network gets them, and how they were read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import InvalidImage
from models.inference.digit_fitting import SIDE, FittedDigit, fit_digit

Pixels = NDArray[np.uint8]
Scale = Literal["auto", "255", "1"]
Form = Literal["png", "jpeg", "raw", "npy", "json"]
MAX_IMAGES = 10_000
MAX_SIDE = 4096
FITTED_SIDE = 1024
"""A larger picture is reduced to this before it is fitted: a digit is scaled to 20 pixels anyway."""
MAX_PIXELS = 100_000_000
IMAGE_PIXELS = SIDE * SIDE
FIT_HINT = "Send 28x28 pixels, or add ?fit=true to have the digit cropped, scaled and centred as in MNIST."


class ReadImages(NamedTuple):
    """Images uint8 [n, 28, 28] as the network gets them, and how they were read."""

    images: Pixels
    form: Form
    scale: Literal["0-255", "0-1"]
    batch: bool
    fitted: bool
    inverted: tuple[bool, ...]


def check_count(count: int) -> None:
    """Raise `InvalidImage` if a request holds too many images."""
    if count > MAX_IMAGES:
        raise InvalidImage(f"{count} images are more than {MAX_IMAGES} in one request.", "Send several requests.")


def as_seen(picture: Pixels, *, fit: bool) -> FittedDigit:
    """Return a grey picture as the network gets it."""
    if not fit:
        return FittedDigit(picture, inverted=False)
    factor = -(-max(picture.shape) // FITTED_SIDE)
    return fit_digit(picture if factor == 1 else np.asarray(Image.fromarray(picture).reduce(factor)))


def gather_images(read: Iterable[FittedDigit], form: Form, *, fit: bool, batch: bool) -> ReadImages:
    """Return the pictures of a request as one batch, and for each whether it was inverted."""
    images, inverted = zip(*read, strict=True)
    return ReadImages(np.stack(images), form, "0-255", batch, fit, tuple(inverted))
