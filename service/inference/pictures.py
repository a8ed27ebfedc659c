"""Decode pictures (PNG, JPEG, WebP, AVIF, BMP, GIF) to grey levels, and encode them."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, ImageOps

from models.errors import InvalidImage
from models.inference.fitted_digit import SIDE
from service.inference.images import FIT_HINT, Form, Pixels
from service.inference.picture_headers import check_size

FITTED_SIDE = 512
"""A larger picture is reduced to about this before it is fitted: a digit is scaled to 20 pixels anyway."""

STRIP_PIXELS = 2**20
ORIENTATION = 0x0112
"""The tag of Exif that says how a picture is turned."""

OPAQUE = 230
SEEN_CONTRAST = 64
"""Grey levels between paper and ink of the opaque part of a picture, from which its paper is in the picture."""


def encode_png(image: Pixels) -> bytes:
    """Return a grey image uint8 [h, w] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def png_data_url(image: Pixels) -> str:
    """Return a picture as a data URL of a PNG."""
    return f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"


def decode_picture(content: bytes, form: Form, *, fit: bool) -> Pixels:
    """Return a picture as grey uint8 [h, w]; checks its size before it decodes the pixels. Raises `InvalidImage`.

    With `fit` a large picture is reduced. Of an animation it is the first frame.
    """
    name = form.upper()
    try:
        picture = Image.open(io.BytesIO(content), formats=[name])
        if not fit and picture.size != (SIDE, SIDE):
            width, height = picture.size
            raise InvalidImage(f"The picture has {width}x{height} pixels, the network reads 28x28.", FIT_HINT)
        check_size(content, form, *picture.size)
        picture.verify()  # verify every checksum: decoding alone accepts truncated pictures
        picture = Image.open(io.BytesIO(content), formats=[name])
        picture.draft("L", (FITTED_SIDE, FITTED_SIDE))  # JPEG alone: decodes at a smaller size that is still as large
        reduced = _reduced(picture)
        return _grey(ImageOps.exif_transpose(reduced) if ORIENTATION in reduced.getexif() else reduced)
    except InvalidImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImage("The picture has too many pixels: 24 megapixels are read.", "Send a smaller one.") from error
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
    mode = "RGBa" if _has_alpha(picture) else "L"  # premultiplied: transparent pixels have no colour in the average
    width, height = (-(-side // factor) for side in picture.size)
    small = Image.new(mode, (width, height))
    deep_bits = _bits_of(picture) if is_deep else 8
    rows = factor * max(1, STRIP_PIXELS // (factor * picture.width))
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        if is_deep:
            levels = Image.fromarray(_high_byte(strip, deep_bits))
        else:
            levels = strip.convert("RGBA") if mode == "RGBa" else strip
        small.paste(levels.convert(mode).reduce(factor), (0, top // factor))
    result = small.convert("RGBA") if mode == "RGBa" else small
    result.getexif()[ORIENTATION] = picture.getexif().get(ORIENTATION, 1)  # other tags may be damaged
    return result


def _has_alpha(picture: Image.Image) -> bool:
    return not picture.mode.startswith("I") and ("A" in picture.getbands() or "transparency" in picture.info)


def _grey(picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I"):  # 16 bits per pixel, which Pillow would clip instead of scale
        return _high_byte(picture, _bits_of(picture))
    if _has_alpha(picture):
        return _on_its_ground(picture.convert("RGBA"))
    grey = picture if picture.mode == "L" else picture.convert("L")
    return np.frombuffer(grey.tobytes(), np.uint8).reshape(grey.height, grey.width)


def _bits_of(picture: Image.Image) -> int:
    """Return how many bits of 16 a picture uses: cameras and scanners write 10 or 12 into files of 16."""
    most = int(np.asarray(picture).max())
    return next(bits for bits in (8, 10, 12, 16) if most < 2**bits or bits == 16)


def _high_byte(picture: Image.Image, bits: int) -> Pixels:
    levels: Pixels = (np.asarray(picture, dtype=np.uint32) >> (bits - 8)).astype(np.uint8)
    return levels


def _on_its_ground(picture: Image.Image) -> Pixels:
    """Return a partly transparent picture as grey levels on the ground that it had.

    If its opaque part has paper and ink, as a shot of a window with transparent corners, the ground is the paper. If
    there is ink alone, the ground is its opposite: black under light ink, else white.
    """
    grey = np.asarray(picture.convert("RGB").convert("L"), dtype=np.float32)
    alpha = np.asarray(picture.getchannel("A"))
    opaque = grey[alpha >= OPAQUE]
    if opaque.size and float(np.ptp(np.percentile(opaque, [2, 98]))) >= SEEN_CONTRAST:
        ground = float(np.median(opaque))
    else:
        opacity = alpha.astype(np.float32)
        mass = float(opacity.sum())
        ground = 0.0 if mass and float((grey * opacity).sum()) / mass > 127 else 255.0
    share = alpha.astype(np.float32) / 255
    return np.rint(grey * share + ground * (1 - share)).astype(np.uint8)
