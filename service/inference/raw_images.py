"""Read raw bytes: one byte a pixel, row by row. 784 bytes are one digit; more need `?shape=`, or they are refused.

Arrays of floats, of 16 bits and of colours have lengths that are multiples of 784 as well. Read as bytes, they would
come out as several digits of nonsense.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidImage
from models.inference.fitted_digit import SIDE
from service.inference.images import (
    FIT_HINT,
    IMAGE_PIXELS,
    MAX_PIXELS,
    MAX_SIDE,
    Pixels,
    ReadImages,
    as_seen,
    check_count,
    gather_images,
)

MAX_DEVIATION = 4.0
"""Of float pixels from 0: levels over 255, or normalized by a mean and a deviation."""

MAX_COLOUR_DIFFERENCE = 8.0


def read_raw(content: bytes, shape: str | None, *, fit: bool) -> ReadImages:
    """Read uint8 pixels of a `shape` such as "2,28,28"; None: 784 bytes are one digit. Raises `InvalidImage`."""
    pixels = _one_digit(content) if shape is None else _shaped(content, shape, fit=fit)
    batch = pixels.ndim == 3
    images = pixels if batch else pixels[None]
    if not fit:
        return ReadImages(images, "raw", batch=batch)
    return gather_images((as_seen(image, fit=fit) for image in images), "raw", fit=fit, batch=batch)


def _one_digit(content: bytes) -> Pixels:
    if len(content) == IMAGE_PIXELS:
        return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
    cause, remedy = _likely_cause(content)
    raise InvalidImage(f"{len(content)} raw bytes are not one digit of 784 bytes: {cause}.", remedy)


def _shaped(content: bytes, shape: str, *, fit: bool) -> Pixels:
    sides = tuple(map(int, shape.split(",")))
    if math.prod(sides) != len(content):
        raise InvalidImage(
            f"The shape {shape} has {math.prod(sides)} bytes; the body has {len(content)}.",
            "Send uint8 pixels, one byte each, row by row.",
        )
    if sides[-1:] == (IMAGE_PIXELS,) and len(sides) <= 2:
        sides = (*sides[:-1], SIDE, SIDE)
    if len(sides) == 3 and sides[2] == 1:
        sides = sides[:2]
    if len(sides) == 4 and 1 in (sides[1], sides[3]):
        sides = (sides[0], *(sides[2:] if sides[1] == 1 else sides[1:3]))
    if len(sides) not in (2, 3) or (not fit and sides[-2:] != (SIDE, SIDE)):
        raise InvalidImage(f"The shape {shape} is not n,28,28 or n,784 or 28,28.", FIT_HINT)
    if max(sides[-2:]) > MAX_SIDE or math.prod(sides) > MAX_PIXELS:
        raise InvalidImage(f"The pictures of shape {shape} are too large.", f"Send at most {MAX_SIDE} per side.")
    check_count(sides[0] if len(sides) == 3 else 1)
    return np.frombuffer(content, np.uint8).reshape(sides)


def _likely_cause(content: bytes) -> tuple[str, str]:
    """Return why a body has another length than 784, judged by its bytes, and the remedy."""
    size, as_bytes = len(content), "Send uint8: `(255 * x).round().astype('uint8').tobytes()` for x in 0..1."
    if size % (4 * IMAGE_PIXELS) == 0 and _are_pixels(np.frombuffer(content, "<f4")):
        return "they look like float32 numbers", as_bytes
    if size % (8 * IMAGE_PIXELS) == 0 and _are_pixels(np.frombuffer(content, "<f8")):
        return "they look like float64 numbers", as_bytes
    if size % (2 * IMAGE_PIXELS) == 0 and _are_16_bits(content):
        return "they look like numbers of 16 bits", "Send uint8: divide by 257 (or by 16 for 12 bits) first."
    colours = _colours(content)
    if colours:
        return f"they look like {colours} pixels", "Send one grey byte a pixel, or the picture as PNG."
    if size % IMAGE_PIXELS == 0:
        count = size // IMAGE_PIXELS
        remedy = f"If they are {count} digits, add ?shape={count},28,28"
        side = math.isqrt(size)
        is_square = side * side == size
        return (
            f"they could be {count} digits" + (f", or a picture of {side}x{side}" if is_square else ""),
            f"{remedy}; of one picture, add ?shape={side},{side}&fit=true." if is_square else f"{remedy}.",
        )
    side = math.isqrt(size)
    if side * side == size:
        return f"they look like a picture of {side}x{side}", f"Add ?shape={side},{side}&fit=true, or send it as PNG."
    return "that is no multiple of 784", "Send one byte a pixel, row by row, or the picture as PNG or JPEG."


def _are_pixels(values: NDArray[np.floating]) -> bool:
    """Return whether floats are shares of ink, grey levels or normalized pixels: bytes read as floats rarely are."""
    finite = np.isfinite(values)
    if not finite.all():
        return False
    magnitude = np.abs(values)
    is_plain = (magnitude == 0) | (magnitude > 1e-6)
    return bool(is_plain.all() and (magnitude.max() <= 255) and magnitude.max() > 0) and (
        bool(magnitude.max() <= MAX_DEVIATION) or bool((values >= 0).all())
    )


def _are_16_bits(content: bytes) -> bool:
    """Return whether bytes are 16-bit levels: of each pair one byte is that of the high bits, which are smooth."""
    pairs = np.frombuffer(content, np.uint8).reshape(-1, 2)
    small = pairs.max(axis=0)
    if min(small) < 16 <= max(small):
        return True  # of 10 or 12 bits
    return bool(pairs.any() and (pairs[:, 0] == pairs[:, 1]).all() and not _is_doubled(content))


def _is_doubled(content: bytes) -> bool:
    """Return whether bytes are a square picture in which each pixel was made four."""
    side = math.isqrt(len(content))
    if side * side != len(content) or side % 2:
        return False
    rows = np.frombuffer(content, np.uint8).reshape(side, side)
    return bool((rows[::2] == rows[1::2]).all())


def _colours(content: bytes) -> str | None:
    """Return RGB or RGBA if the bytes of a pixel belong together, else None."""
    values = np.frombuffer(content, np.uint8)
    if len(values) % (4 * IMAGE_PIXELS) == 0:
        pixels = values.reshape(-1, 4)
        if (pixels[:, 3] == 255).mean() > 0.9 or _is_grey(pixels[:, :3]):
            return "RGBA"
    if len(values) % (3 * IMAGE_PIXELS) == 0 and _is_grey(values.reshape(-1, 3)):
        return "RGB"
    return None


def _is_grey(pixels: Pixels) -> bool:
    """Return whether three colours are nearly equal and not all black, as of a grey picture."""
    apart = np.ptp(pixels.astype(np.int16), axis=1)
    return bool(pixels.any() and np.percentile(apart, 95) <= MAX_COLOUR_DIFFERENCE and apart.mean() < pixels.std() / 4)
