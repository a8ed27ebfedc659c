"""Read posted images: from their bytes and media type to uint8 [n, 28, 28], and a word on how they were read.

Rule for numbers in JSON: if any is greater than 1, they are grey levels 0..255; if none is and some are
fractions, they are shares of ink 0..1. Only zeros and ones could mean either, and are refused unless `?scale=`
says which (all zeros mean the same in both). The rule looks at all images of a request together.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.errors import InvalidImage
from models.inference.digit_fitting import SIDE, FittedDigit, fit_digit
from service.errors import MalformedBody, UnsupportedMediaType

Pixels = NDArray[np.uint8]
Scale = Literal["auto", "255", "1"]
Form = Literal["png", "jpeg", "raw", "npy", "json"]

MAX_IMAGES = 10_000
MAX_SIDE = 4096
MAX_PIXELS = 100_000_000
IMAGE_PIXELS = SIDE * SIDE
FIT_MEND = "Send 28x28 pixels, or add ?fit=true to have the digit cropped, scaled and centred as in MNIST."
READABLE = (
    "image/png, image/jpeg, application/octet-stream (784 bytes an image), application/x-npy, application/json, "
    "multipart/form-data"
)
_SIGNATURES: dict[bytes, Form] = {b"\x89PNG\r\n\x1a\n": "png", b"\x93NUMPY": "npy", b"\xff\xd8\xff": "jpeg"}
_BEGINNINGS = tuple(_SIGNATURES)
_FORMS: dict[str, Form] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/octet-stream": "raw",
    "application/x-npy": "npy",
    "application/json": "json",
}
_UNSAID = ("", "application/x-www-form-urlencoded", "*/*")  # what clients send that were told nothing; curl does


class ReadImages(NamedTuple):
    """Images as the network will see them, and how they came to be so."""

    images: Pixels
    form: Form
    scale: Literal["0-255", "0-1"]
    batch: bool
    fitted: bool
    inverted: tuple[bool, ...]


def media_type_of(header: str | None) -> str:
    """Return a declared media type without its parameters, in lower case; empty if there is none."""
    return (header or "").partition(";")[0].strip().lower()


def read_body(content: bytes, media_type: str, *, fit: bool, scale: Scale) -> ReadImages:
    """Read the images of one body; `media_type` without parameters, empty if the client did not say.

    Raises `InvalidImage`, `MalformedBody` or `UnsupportedMediaType`.
    """
    form = _form_of(content, media_type)
    if form == "json":
        return _read_json(content, fit=fit, scale=scale)
    if form == "npy":
        return _read_npy(content, fit=fit, scale=scale)
    if form == "raw":
        images = _read_raw(content)
        if not fit:
            return ReadImages(images, form, "0-255", len(images) > 1, False, ())
        return _gathered((_seen(image, fit=fit) for image in images), form, fit=fit, batch=len(images) > 1)
    return _gathered([_seen(_decode(content, form, fit=fit), fit=fit)], form, fit=fit, batch=False)


def read_files(files: Sequence[tuple[bytes, str]], *, fit: bool) -> ReadImages:
    """Read images that were posted as files of a form, each with its content and media type."""
    if not files:
        raise InvalidImage("The form has no file.", "Send each image as a file: curl -F image=@digit.png")
    _check_count(len(files))
    forms = [_form_of(content, media_type) for content, media_type in files]
    if "json" in forms or "npy" in forms:
        raise UnsupportedMediaType("A file of a form must be a picture or 784 raw bytes, not JSON or .npy.")
    read = _each_file([content for content, _ in files], forms, fit=fit)
    return _gathered(read, forms[0], fit=fit, batch=len(files) > 1)


def _each_file(contents: Sequence[bytes], forms: Sequence[Form], *, fit: bool) -> Iterator[FittedDigit]:
    """Decode one file after another, so that large pictures are never in memory together."""
    pixels = 0
    for content, form in zip(contents, forms, strict=True):
        picture = _one_raw(content) if form == "raw" else _decode(content, form, fit=fit)
        pixels += picture.size
        if pixels > MAX_PIXELS:
            raise InvalidImage(f"The pictures have more than {MAX_PIXELS:,} pixels together.", "Send fewer at a time.")
        yield _seen(picture, fit=fit)


def encode_png(image: Pixels) -> bytes:
    """Return a grey uint8 [h, w] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def _form_of(content: bytes, media_type: str) -> Form:
    if not content:
        raise InvalidImage("The body is empty.", f"Send one of: {READABLE}.")
    if media_type in _FORMS and not _is_odd_octet_stream(content, media_type):
        return _FORMS[media_type]
    if media_type not in (*_UNSAID, "application/octet-stream"):
        raise UnsupportedMediaType(f"{media_type} is not read here.", f"Send one of: {READABLE}.")
    signed = _signed_form(content)
    if signed is not None:
        return signed
    stripped = content.strip()
    if stripped[:1] in (b"[", b"{") and stripped[-1:] in (b"]", b"}"):
        return "json"
    if len(content) % IMAGE_PIXELS == 0:
        return "raw"
    raise UnsupportedMediaType(
        f"The request does not say what it sends, and its {len(content)} bytes are neither PNG, JPEG, JSON nor 784 "
        "bytes an image.",
        f"Say what it is: {READABLE}.",
    )


def _signed_form(content: bytes) -> Form | None:
    """Return the form whose signature the content begins with, if any."""
    if not content.startswith(_BEGINNINGS):
        return None
    return next(form for signature, form in _SIGNATURES.items() if content.startswith(signature))


def _is_odd_octet_stream(content: bytes, media_type: str) -> bool:
    """Say whether bytes declared as mere bytes are rather a picture, as many clients declare files.

    The signatures of PNG and .npy cannot begin a digit; JPEG's three bytes could, if the length fits too.
    """
    if media_type != "application/octet-stream":
        return False
    form = _signed_form(content)
    return form in ("png", "npy") or (form == "jpeg" and len(content) % IMAGE_PIXELS != 0)


def _read_raw(content: bytes) -> Pixels:
    count, rest = divmod(len(content), IMAGE_PIXELS)
    if rest or not count:
        raise InvalidImage(f"{len(content)} raw bytes are not a multiple of 784.", "Send one byte a pixel, row by row.")
    _check_count(count)
    return np.frombuffer(content, np.uint8).reshape(count, SIDE, SIDE)


def _one_raw(content: bytes) -> Pixels:
    images = _read_raw(content)
    if len(images) != 1:
        raise InvalidImage(f"A file holds {len(images)} raw images.", "Send one image a file, or all as one raw body.")
    return images.reshape(SIDE, SIDE)


def _check_count(count: int) -> None:
    if count > MAX_IMAGES:
        raise InvalidImage(f"{count} images are more than {MAX_IMAGES} in one request.", "Send several requests.")


def _decode(content: bytes, form: Form, *, fit: bool) -> Pixels:
    """Return a picture as grey uint8 [h, w]; its size is checked before its pixels are decoded."""
    name = form.upper()
    try:
        picture = Image.open(io.BytesIO(content), formats=[name])
        _check_size(*picture.size, fit=fit)
        picture.verify()  # checksums to the very end: Pillow alone would draw a picture that is cut off
        return _grey(ImageOps.exif_transpose(Image.open(io.BytesIO(content), formats=[name])))
    except InvalidImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidImage("The picture has too many pixels.", f"Send at most {MAX_SIDE} a side.") from error
    except Exception as error:
        raise InvalidImage(f"The {name} cannot be read: it is damaged, cut off, or not a {name}.") from error


def _check_size(width: int, height: int, *, fit: bool) -> None:
    if not fit and (width, height) != (SIDE, SIDE):
        raise InvalidImage(f"The picture has {width}x{height} pixels, the network reads 28x28.", FIT_MEND)
    if max(width, height) > MAX_SIDE:
        raise InvalidImage(f"The picture has {width}x{height} pixels.", f"Send at most {MAX_SIDE} a side.")


def _grey(picture: Image.Image) -> Pixels:
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
        levels: Pixels = (np.asarray(picture, dtype=np.uint32) >> 8).astype(np.uint8)
        return levels
    if "A" in picture.getbands() or "transparency" in picture.info:
        return _on_opposite_ground(picture.convert("RGBA"))
    return np.asarray(picture.convert("L"))


def _on_opposite_ground(picture: Image.Image) -> Pixels:
    """Lay a transparent picture on black if its ink is light, else on white."""
    grey = np.asarray(picture.convert("RGB").convert("L"), dtype=np.float32)
    opacity = np.asarray(picture.getchannel("A"), dtype=np.float32) / 255
    mass = float(opacity.sum())
    ink = float((grey * opacity).sum()) / mass if mass else 0.0
    ground = 0.0 if ink > 127 else 255.0
    return np.rint(grey * opacity + ground * (1 - opacity)).astype(np.uint8)


def _seen(picture: Pixels, *, fit: bool) -> FittedDigit:
    """Return what the network sees of a grey picture."""
    return fit_digit(picture) if fit else FittedDigit(picture, inverted=False)


def _gathered(read: Iterable[FittedDigit], form: Form, *, fit: bool, batch: bool) -> ReadImages:
    images, inverted = zip(*read, strict=True)
    return ReadImages(np.stack(images), form, "0-255", batch, fit, tuple(inverted))


def _read_npy(content: bytes, *, fit: bool, scale: Scale) -> ReadImages:
    """Read an array as `numpy.save` writes it; its header is read before memory is taken for it."""
    try:
        with io.BytesIO(content) as file:
            array = np.lib.format.read_array(file, allow_pickle=False, max_header_size=10_000)
            rest = len(content) - file.tell()
    except (ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TypeError) as error:
        raise InvalidImage(f"The .npy cannot be read: {error}", "Write it with numpy.save(file, array).") from error
    if rest:
        raise InvalidImage(f"{rest} bytes follow the array in the .npy.", "Send one array.")
    if array.dtype.kind not in "uif" or not np.isfinite(array).all():
        raise InvalidImage(f"The array of {array.dtype} is not one of finite numbers.", "Send uint8 or float32.")
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    levels, batch = _shaped(array.astype(np.float64), fit=fit)
    if array.dtype == np.uint8 and scale == "auto":
        scale = "255"  # bytes are levels
    return _of_levels(levels, "npy", fit=fit, scale=scale, batch=batch)


def _read_json(content: bytes, *, fit: bool, scale: Scale) -> ReadImages:
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error
    pixels = _pixels_of(parsed)
    if isinstance(pixels, str):
        return read_base64(pixels, fit=fit)
    levels, batch = _as_array(pixels, fit=fit)
    return _of_levels(levels, "json", fit=fit, scale=scale, batch=batch)


def read_base64(text: str, *, fit: bool) -> ReadImages:
    """Read a picture, or raw bytes, in base64; a data URL's beginning is left out."""
    try:
        content = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
    except ValueError as error:
        raise InvalidImage(f"The image is not base64: {error}.", "Encode the file's bytes.") from error
    form = _form_of(content, "")
    if form in ("json", "npy"):
        raise InvalidImage(f"The base64 holds {form}.", "Encode a PNG, a JPEG or 784 raw bytes.")
    return read_body(content, "", fit=fit, scale="255")


def _of_levels(levels: NDArray[np.float64], form: Form, *, fit: bool, scale: Scale, batch: bool) -> ReadImages:
    pixels, read_scale = _grey_levels(levels, scale)
    if not fit:
        return ReadImages(pixels, form, read_scale, batch, False, ())
    read = _gathered((_seen(picture, fit=fit) for picture in pixels), form, fit=fit, batch=batch)
    return read._replace(scale=read_scale)


def _pixels_of(parsed: Any) -> Any:
    if not isinstance(parsed, dict):
        return parsed
    for key in ("pixels", "image", "images"):
        if key in parsed:
            return parsed[key]
    raise InvalidImage("The JSON object has no pixels.", 'Send {"pixels": [[...28 numbers...], ...28 rows...]}.')


def _as_array(pixels: Any, *, fit: bool) -> tuple[NDArray[np.float64], bool]:
    """Return float64 [n, h, w] and whether it was a batch; without `fit` h and w are 28."""
    try:
        # Types first: NumPy would make of one long string among numbers an array of long strings.
        levels = np.array(pixels if _holds_numbers(pixels, depth=3) else [], dtype=np.float64)
    except (ValueError, OverflowError):
        levels = np.array([])
    if levels.size == 0:
        raise InvalidImage("The pixels are not a full grid of numbers.", "Send 28 rows of 28 numbers.")
    return _shaped(levels, fit=fit)


def _shaped(levels: NDArray[np.float64], *, fit: bool) -> tuple[NDArray[np.float64], bool]:
    """Return numbers as float64 [n, h, w], and whether they were a batch."""
    if levels.shape == (IMAGE_PIXELS,) or (levels.ndim == 2 and levels.shape[1] == IMAGE_PIXELS and not fit):
        levels = levels.reshape(*levels.shape[:-1], SIDE, SIDE)
    batch = levels.ndim == 3
    if levels.ndim not in (2, 3) or (not fit and levels.shape[-2:] != (SIDE, SIDE)):
        shape = "x".join(map(str, levels.shape))
        raise InvalidImage(f"The pixels have shape {shape}, not 28x28, nx28x28, 784 or nx784.", FIT_MEND)
    if max(levels.shape[-2:]) > MAX_SIDE:
        raise InvalidImage(f"The pixels have more than {MAX_SIDE} a side.", "Send a smaller picture.")
    levels = levels if batch else levels[None]
    _check_count(len(levels))
    if len(levels) == 0:
        raise InvalidImage("There is no image.", "Send at least one.")
    return levels, batch


def _holds_numbers(pixels: Any, depth: int) -> bool:
    """Say whether lists, at most `depth` deep, hold int and float alone (a bool is neither)."""
    if not isinstance(pixels, list) or depth == 0:
        return False
    if set(map(type, pixels)) <= {int, float}:
        return True
    return all(_holds_numbers(part, depth - 1) for part in pixels)


def _grey_levels(levels: NDArray[np.float64], scale: Scale) -> tuple[Pixels, Literal["0-255", "0-1"]]:
    low, high = float(levels.min()), float(levels.max())
    if low < 0 or high > 255 or (scale == "1" and high > 1):
        limit = "0..1" if scale == "1" else "0..255"
        raise InvalidImage(f"Pixels reach from {low:g} to {high:g}; they must be in {limit}.", "0 is background.")
    if scale == "auto":
        has_fractions = bool((levels % 1 != 0).any())
        if high == 1 and not has_fractions:
            raise InvalidImage(
                "Only zeros and ones: they could be grey levels 0..255 or shares of ink 0..1.",
                "Say which: ?scale=1 if 1 is full ink, ?scale=255 if it is almost none.",
            )
        scale = "1" if high <= 1 and has_fractions else "255"
    if scale == "1":
        return np.rint(levels * 255).astype(np.uint8), "0-1"
    return np.rint(levels).astype(np.uint8), "0-255"
