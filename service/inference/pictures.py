"""Decode pictures (PNG, JPEG) to grey levels, and encode them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from models.errors import InvalidImage
from models.inference.digit_fitting import SIDE
from service.inference.images import FIT_HINT, FITTED_SIDE, MAX_SIDE, Form, Pixels

STRIP_PIXELS = 2**20
PNG, PNG_HEADER_BYTES = b"\x89PNG\r\n\x1a\n", 24
JPEG, MAX_SEGMENTS = b"\xff\xd8\xff", 100
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a JPEG's frame header, which has the size."""


def encode_png(image: Pixels) -> bytes:
    """Return a grey image uint8 [h, w] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def area_of(content: bytes) -> int:
    """Return the pixels of a picture by its header: 0 of no picture, the most if the header of a JPEG is not found.

    Pillow would read all segments of a file first, of which a hostile one has a million.
    """
    if content.startswith(PNG) and len(content) >= PNG_HEADER_BYTES:
        width, height = (int.from_bytes(content[place : place + 4], "big") for place in (16, 20))
        return min(width * height, MAX_SIDE * MAX_SIDE)
    return _area_of_jpeg(content) if content.startswith(JPEG) else 0


def _area_of_jpeg(content: bytes) -> int:
    place = len(JPEG) - 1
    for _ in range(MAX_SEGMENTS):
        segment = content[place : place + 9]
        if len(segment) < 9 or segment[0] != 0xFF:
            break
        if segment[1] in FRAMES:
            height, width = (int.from_bytes(segment[place : place + 2], "big") for place in (5, 7))
            return min(width * height, MAX_SIDE * MAX_SIDE)
        place += 2 + int.from_bytes(segment[2:4], "big")
    return MAX_SIDE * MAX_SIDE


def decode_picture(content: bytes, form: Form, *, fit: bool) -> Pixels:
    """Return a picture as grey uint8 [h, w]; checks its size before it decodes the pixels. Raises `InvalidImage`."""
    name = form.upper()
    try:
        picture = Image.open(io.BytesIO(content), formats=[name])
        _check_size(*picture.size, fit=fit)
        picture.verify()  # verify every checksum: decoding alone accepts truncated pictures
        picture = Image.open(io.BytesIO(content), formats=[name])
        picture.draft("L", (FITTED_SIDE, FITTED_SIDE))  # JPEG alone: decodes at a smaller size that is still as large
        return _grey(ImageOps.exif_transpose(_reduced(picture)))
    except InvalidImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImage("The picture has too many pixels.", f"Send at most {MAX_SIDE} per side.") from error
    except Exception as error:
        raise InvalidImage(f"The {name} cannot be read: it is damaged, cut off, or not a {name}.") from error


def _reduced(picture: Image.Image) -> Image.Image:
    """Return a large picture with its pixels averaged in squares, to at most `FITTED_SIDE` and in few bytes a pixel.

    Nothing of a digit is lost: it is scaled to 20 pixels afterwards.
    """
    factor = -(-max(picture.size) // FITTED_SIDE)
    if factor == 1:
        return picture
    is_deep = picture.mode.startswith("I")
    has_alpha = not is_deep and ("A" in picture.getbands() or "transparency" in picture.info)
    mode = "RGBa" if has_alpha else "L"  # premultiplied, so that transparent pixels have no colour in the average
    width, height = (-(-side // factor) for side in picture.size)
    small, exif = Image.new(mode, (width, height)), picture.getexif()
    rows = factor * max(1, STRIP_PIXELS // (factor * picture.width))
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        levels = Image.fromarray(_grey(strip)) if is_deep else strip.convert("RGBA") if has_alpha else strip
        small.paste(levels.convert(mode).reduce(factor), (0, top // factor))
    result = small.convert("RGBA") if has_alpha else small
    result.info["exif"] = exif.tobytes()
    return result


def _check_size(width: int, height: int, *, fit: bool) -> None:
    if not fit and (width, height) != (SIDE, SIDE):
        raise InvalidImage(f"The picture has {width}x{height} pixels, the network reads 28x28.", FIT_HINT)
    if max(width, height) > MAX_SIDE:
        raise InvalidImage(f"The picture has {width}x{height} pixels.", f"Send at most {MAX_SIDE} per side.")


def _grey(picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I"):  # 16 bits per pixel, which Pillow would clip instead of scale
        levels: Pixels = (np.asarray(picture, dtype=np.uint32) >> 8).astype(np.uint8)
        return levels
    if "A" in picture.getbands() or "transparency" in picture.info:
        return _on_opposite_ground(picture.convert("RGBA"))
    return np.asarray(picture.convert("L"))


def _on_opposite_ground(picture: Image.Image) -> Pixels:
    """Return a transparent picture on black if its ink is light, else on white."""
    grey = np.asarray(picture.convert("RGB").convert("L"), dtype=np.float32)
    opacity = np.asarray(picture.getchannel("A"), dtype=np.float32) / 255
    mass = float(opacity.sum())
    ink = float((grey * opacity).sum()) / mass if mass else 0.0
    ground = 0.0 if ink > 127 else 255.0
    return np.rint(grey * opacity + ground * (1 - opacity)).astype(np.uint8)
