"""Read images from numbers: in JSON, or in an array from `numpy.save`.

Rule for numbers: if any is greater than 1, they are grey levels 0..255; if none is and some are fractions, they are
shares of ink 0..1. Zeros and ones alone are ambiguous and need `?scale=` (all zeros mean the same in both). The rule
applies to all images of a request together.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidImage
from models.inference.digit_fitting import SIDE
from service.inference.images import (
    FIT_HINT,
    IMAGE_PIXELS,
    MAX_SIDE,
    Form,
    Pixels,
    ReadImages,
    Scale,
    as_seen,
    check_count,
    gather_images,
)

Levels = NDArray[Any]
"""Numbers of any type that NumPy computes with, before they are grey levels."""

PIECE = 2**18
LARGEST_ITEM_BYTES = 8


def read_npy(content: bytes, *, fit: bool, scale: Scale) -> ReadImages:
    """Read an array from `numpy.save`; its header is read before memory is allocated."""
    try:
        with io.BytesIO(content) as file:
            array = np.lib.format.read_array(file, allow_pickle=False, max_header_size=10_000)
            rest = len(content) - file.tell()
    except Exception as error:  # NumPy evaluates the header; a hostile one raises what Python's tokenizer does
        raise InvalidImage(f"The .npy cannot be read: {error}", "Write it with numpy.save(file, array).") from error
    if rest:
        raise InvalidImage(f"{rest} bytes follow the array in the .npy.", "Send one array.")
    if array.dtype.kind not in "uif" or array.dtype.itemsize > LARGEST_ITEM_BYTES:
        raise InvalidImage(f"The array of {array.dtype} does not hold numbers.", "Send uint8 or float32.")
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.size and not np.isfinite([array.min(), array.max()]).all():  # NaN is the minimum of an array that has one
        raise InvalidImage("The array holds NaN or infinity.", "Send finite numbers.")
    levels, batch = _shaped(array, fit=fit)
    if array.dtype == np.uint8 and scale == "auto":
        scale = "255"  # bytes are levels
    return images_of_levels(levels, "npy", fit=fit, scale=scale, batch=batch)


def images_of_levels(levels: Levels, form: Form, *, fit: bool, scale: Scale, batch: bool) -> ReadImages:
    """Return numbers [n, h, w] as images: scaled to grey levels, and fitted if `fit`."""
    pixels, read_scale = _grey_levels(levels, scale)
    if not fit:
        return ReadImages(pixels, form, read_scale, batch, False, ())
    read = gather_images((as_seen(picture, fit=fit) for picture in pixels), form, fit=fit, batch=batch)
    return read._replace(scale=read_scale)


def pixels_of(parsed: Any) -> Any:
    """Return the pixels that a JSON value holds, itself or under a key. Raises `InvalidImage`."""
    if not isinstance(parsed, dict):
        return parsed
    for key in ("pixels", "image", "images"):
        if key in parsed:
            return parsed[key]
    raise InvalidImage("The JSON object has no pixels.", 'Send {"pixels": [[...28 numbers...], ...28 rows...]}.')


def as_array(pixels: Any, *, fit: bool) -> tuple[NDArray[np.float64], bool]:
    """Return float64 [n, h, w] and whether it was a batch; without `fit` h and w are 28."""
    try:
        levels = np.array(pixels if holds_numbers(pixels, depth=3) else [], dtype=np.float64)
    except (ValueError, OverflowError):
        levels = np.array([])
    if levels.size == 0:
        raise InvalidImage("The pixels are not a full grid of numbers.", "Send 28 rows of 28 numbers.")
    return _shaped(levels, fit=fit)


def holds_numbers(pixels: Any, depth: int) -> bool:
    """Return whether nested lists, at most `depth` deep, hold only int and float (bool does not count).

    NumPy would allocate an array of long strings for a long string among numbers.
    """
    if not isinstance(pixels, list) or depth == 0:
        return False
    if set(map(type, pixels)) <= {int, float}:
        return True
    return all(holds_numbers(part, depth - 1) for part in pixels)


def _shaped(levels: Levels, *, fit: bool) -> tuple[Levels, bool]:
    """Return the numbers as [n, h, w], and whether they were a batch."""
    if levels.shape == (IMAGE_PIXELS,) or (levels.ndim == 2 and levels.shape[1] == IMAGE_PIXELS and not fit):
        levels = levels.reshape(*levels.shape[:-1], SIDE, SIDE)
    batch = levels.ndim == 3
    if levels.ndim not in (2, 3) or (not fit and levels.shape[-2:] != (SIDE, SIDE)):
        shape = "x".join(map(str, levels.shape))
        raise InvalidImage(f"The pixels have shape {shape}, not 28x28, nx28x28, 784 or nx784.", FIT_HINT)
    if max(levels.shape[-2:]) > MAX_SIDE:
        raise InvalidImage(f"The pixels have more than {MAX_SIDE} per side.", "Send a smaller picture.")
    levels = levels if batch else levels[None]
    check_count(len(levels))
    if len(levels) == 0:
        raise InvalidImage("There is no image.", "Send at least one.")
    return levels, batch


def _grey_levels(levels: Levels, scale: Scale) -> tuple[Pixels, Literal["0-255", "0-1"]]:
    low, high = float(levels.min()), float(levels.max())
    if low < 0 or high > 255 or (scale == "1" and high > 1):
        limit = "0..1" if scale == "1" else "0..255"
        raise InvalidImage(f"Pixels range from {low:g} to {high:g}; they must be in {limit}.", "0 is background.")
    if scale == "auto":
        has_fractions = any((piece % 1 != 0).any() for piece in _pieces(levels))
        if high == 1 and not has_fractions:
            raise InvalidImage(
                "Only zeros and ones: they could be grey levels 0..255 or shares of ink 0..1.",
                "Add ?scale=1 if 1 is full ink, or ?scale=255 if it is almost none.",
            )
        scale = "1" if high <= 1 and has_fractions else "255"
    factor = 255.0 if scale == "1" else 1.0
    pixels = np.empty(levels.shape, np.uint8)
    flat, start = pixels.reshape(-1), 0
    for piece in _pieces(levels):
        flat[start : start + len(piece)] = np.rint(piece * factor)
        start += len(piece)
    return pixels, "0-1" if scale == "1" else "0-255"


def _pieces(levels: Levels) -> Iterator[NDArray[np.float64]]:
    """Yield all numbers in order, some at a time in float64: a copy of them all could take eight times the body."""
    flat = levels.reshape(-1)
    for start in range(0, len(flat), PIECE):
        yield flat[start : start + PIECE].astype(np.float64)
