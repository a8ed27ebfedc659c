"""Read images from numbers: in JSON, or in an array from `numpy.save`.

Rule for numbers: if any is greater than 1, they are grey levels 0..255; if none is and some are fractions, they are
shares of ink 0..1; resampling may have made them overshoot a little. Pixels normalized by MNIST's mean and deviation
are known by their smallest value. Zeros and ones alone are ambiguous and need `?scale=` (all zeros mean the same in
both). The rule applies to all images of a request together.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidImage
from models.inference.fitted_digit import SIDE
from models.vocabulary import MNIST_DEVIATION, MNIST_MEAN
from service.inference.images import (
    FIT_HINT,
    IMAGE_PIXELS,
    MAX_SIDE,
    Form,
    Pixels,
    ReadImages,
    ReadScale,
    Scale,
    as_seen,
    check_count,
    gather_images,
)

Levels = NDArray[Any]
"""Numbers of any type that NumPy computes with, before they are grey levels."""

OVERSHOOT = 0.05
"""How far beyond 0 and 1 shares of ink may be after a picture was resampled; they are clipped."""

MNIST_LOW, MNIST_HIGH = -MNIST_MEAN / MNIST_DEVIATION, (1 - MNIST_MEAN) / MNIST_DEVIATION
ROUNDING = 0.01
PIECE = 2**18
MAX_KEYS = 20
COLOURS = (3, 4)
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
    if array.dtype == np.bool_:
        array, scale = array.astype(np.uint8), "1"  # ink or no ink
    if array.dtype.kind not in "uif" or array.dtype.itemsize > LARGEST_ITEM_BYTES:
        raise InvalidImage(f"The array of {array.dtype} does not hold numbers.", "Send uint8 or float32.")
    if array.size and not np.isfinite([array.min(), array.max()]).all():  # NaN is the minimum of an array that has one
        raise InvalidImage("The array holds NaN or infinity.", "Send finite numbers.")
    levels, batch = _shaped(array, fit=fit)
    if array.dtype == np.uint8 and scale == "auto":
        scale = "255"  # bytes are levels
    return images_of_levels(levels, "npy", fit=fit, scale=scale, batch=batch)


def images_of_levels(levels: Levels, form: Form, *, fit: bool, scale: Scale, batch: bool) -> ReadImages:
    """Return numbers [n, h, w] as images: scaled to grey levels, and fitted if `fit`."""
    rule = _rule_of(levels, scale)
    pixels = _grey_levels(levels, rule)
    if not fit:
        return ReadImages(pixels, form, rule.name, batch, clipped=rule.clips)
    read = gather_images((as_seen(picture, fit=fit) for picture in pixels), form, fit=fit, batch=batch)
    return read._replace(scale=rule.name, clipped=rule.clips)


def pixels_of(parsed: Any) -> tuple[Any, dict[str, Any]]:
    """Return the pixels that a JSON value holds, itself or under a key, and the options beside them.

    Raises `InvalidImage`.
    """
    if not isinstance(parsed, dict):
        return parsed, {}
    found = [key for key in ("pixels", "image", "images") if key in parsed]
    if len(found) != 1:
        there_are = f" (it has {', '.join(list(parsed)[:5])})" if parsed else ""
        cause = f"has no pixels{there_are}" if not found else f"has both {found[0]} and {found[1]}"
        raise InvalidImage(f"The JSON object {cause}.", 'Send {"pixels": [[...28 numbers...], ...28 rows...]}.')
    if len(parsed) > MAX_KEYS:
        raise InvalidImage(
            f"The JSON object has {len(parsed)} keys.", f"Send the pixels and at most {MAX_KEYS - 1} options."
        )
    return parsed[found[0]], {key: value for key, value in parsed.items() if key != found[0]}


def as_array(pixels: Any, *, fit: bool) -> tuple[NDArray[np.float64], bool]:
    """Return float64 [n, h, w] and whether it was a batch; without `fit` h and w are 28."""
    if isinstance(pixels, list) and pixels and all(isinstance(one, str) for one in pixels):
        raise InvalidImage("The JSON holds several texts.", "Send one picture in base64, or several files in a form.")
    try:
        flat = _flat_digit(pixels)
        if flat is not None:
            return np.array(flat, np.float64).reshape(1, SIDE, SIDE), False
        levels = np.array(pixels if holds_numbers(pixels, depth=4) else [], dtype=np.float64)
    except (ValueError, OverflowError):
        levels = np.array([])
    if levels.size == 0:
        raise InvalidImage("The pixels are not a full grid of numbers.", "Send 28 rows of 28 numbers.")
    return _shaped(levels, fit=fit)


def _flat_digit(pixels: Any) -> list[int | float] | None:
    """Return the numbers of 28 rows of 28, the most frequent case, as one list; None of anything else."""
    if not isinstance(pixels, list) or len(pixels) != SIDE:
        return None
    if not all(isinstance(row, list) and len(row) == SIDE for row in pixels):
        return None
    flat = list(chain.from_iterable(pixels))
    return flat if set(map(type, flat)) <= {int, float} else None


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
    if levels.ndim == 4 and 1 in (levels.shape[1], levels.shape[3]):  # the channel of torch, or of Keras
        levels = levels[:, 0] if levels.shape[1] == 1 else levels[..., 0]
    elif levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[..., 0]
    elif levels.ndim == 3 and levels.shape[2] in COLOURS and levels.shape[1] not in COLOURS:
        raise InvalidImage(
            f"The pixels have shape {'x'.join(map(str, levels.shape))}: they look like colours.",
            "Send one grey number a pixel, or the picture as PNG or JPEG.",
        )
    is_row_of_digits = levels.ndim == 2 and levels.shape[1] == IMAGE_PIXELS and len(levels) != IMAGE_PIXELS
    if levels.shape == (IMAGE_PIXELS,) or is_row_of_digits:
        levels = levels.reshape(*levels.shape[:-1], SIDE, SIDE)
    batch = levels.ndim == 3
    if levels.ndim not in (2, 3) or (not fit and levels.shape[-2:] != (SIDE, SIDE)):
        shape = "x".join(map(str, levels.shape))
        raise InvalidImage(
            f"The pixels have shape {shape}, not 28x28, nx28x28, 784 or nx784 (or nx1x28x28, nx28x28x1).", FIT_HINT
        )
    if max(levels.shape[-2:]) > MAX_SIDE:
        raise InvalidImage(f"The pixels have more than {MAX_SIDE} per side.", "Send a smaller picture.")
    levels = levels if batch else levels[None]
    check_count(len(levels))
    if levels.size == 0:
        raise InvalidImage("There is no image.", "Send at least one, of at least one pixel.")
    return levels, batch


class _Rule(NamedTuple):
    """How numbers become grey levels: `factor` * (x + `shift`), clipped to 0..255."""

    name: ReadScale
    factor: float
    shift: float = 0.0
    clips: bool = False


def _rule_of(levels: Levels, scale: Scale) -> _Rule:
    low, high = float(levels.min()), float(levels.max())
    if scale == "255":
        return _within(low, high, 255.0, _Rule("0-255", 1.0))
    if scale == "1":
        return _within(low, high, 1.0, _Rule("0-1", 255.0))
    has_fractions = any((piece % 1 != 0).any() for piece in _pieces(levels))
    if has_fractions and abs(low - MNIST_LOW) < ROUNDING and high < MNIST_HIGH + ROUNDING:
        return _Rule("mnist-normalized", 255.0 * MNIST_DEVIATION, MNIST_MEAN / MNIST_DEVIATION)
    if has_fractions and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return _Rule("0-1", 255.0, clips=low < 0 or high > 1)
    if has_fractions and abs(low + 1) < ROUNDING and high <= 1 + ROUNDING:
        raise InvalidImage("Pixels range from -1 to 1: they look normalized, (x - .5) / .5.", "Send (x + 1) / 2.")
    rule = _within(low, high, 255.0, _Rule("0-255", 1.0))
    if high == 1:
        raise InvalidImage(
            "Only zeros and ones: they could be grey levels 0..255 or shares of ink 0..1.",
            "Add ?scale=1 if 1 is full ink, or ?scale=255 if it is almost none.",
        )
    return rule


def _within(low: float, high: float, most: float, rule: _Rule) -> _Rule:
    if low < 0 or high > most:
        raise InvalidImage(
            f"Pixels range from {low:g} to {high:g}; they must be in 0..{most:g}.",
            "0 is background. Normalized pixels: undo the mean and the deviation first.",
        )
    return rule


def _grey_levels(levels: Levels, rule: _Rule) -> Pixels:
    pixels = np.empty(levels.shape, np.uint8)
    flat, start = pixels.reshape(-1), 0
    for piece in _pieces(levels):
        if rule.shift or rule.clips:
            piece = np.clip((piece + rule.shift) * rule.factor, 0, 255)
        elif rule.factor != 1:
            piece = piece * rule.factor
        flat[start : start + len(piece)] = np.rint(piece)
        start += len(piece)
    return pixels


def _pieces(levels: Levels) -> Iterator[NDArray[np.float64]]:
    """Yield all numbers in order, some at a time in float64: a copy of them all could take eight times the body."""
    flat = levels.reshape(-1)
    for start in range(0, len(flat), PIECE):
        yield flat[start : start + PIECE].astype(np.float64)
