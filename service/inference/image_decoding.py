"""Decode posted images, from bytes and media type to uint8 [n, 28, 28], and record how they were read."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

import numpy as np

from models.errors import InvalidImage
from models.inference.digit_fitting import SIDE, FittedDigit
from service.errors import UnsupportedMediaType
from service.http.json_body import parse_images
from service.inference.images import (
    IMAGE_PIXELS,
    MAX_PIXELS,
    Form,
    Pixels,
    ReadImages,
    Scale,
    as_seen,
    check_count,
    gather_images,
)
from service.inference.pictures import area_of, decode_picture
from service.inference.pixel_numbers import as_array, images_of_levels, pixels_of, read_npy

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
_UNSAID = ("", "application/x-www-form-urlencoded", "*/*")  # sent by clients that set no type, such as curl -d


def read_body(content: bytes, media_type: str, *, fit: bool, scale: Scale) -> ReadImages:
    """Read the images of one body; `media_type` is without parameters, and empty if the client sent none.

    Raises `InvalidImage`, `MalformedBody` or `UnsupportedMediaType`.
    """
    form = _form_of(content, media_type)
    if form == "json":
        return _read_json(content, fit=fit, scale=scale)
    if form == "npy":
        return read_npy(content, fit=fit, scale=scale)
    if form == "raw":
        images = _read_raw(content)
        if not fit:
            return ReadImages(images, form, "0-255", len(images) > 1, False, ())
        return gather_images((as_seen(image, fit=fit) for image in images), form, fit=fit, batch=len(images) > 1)
    return gather_images([as_seen(decode_picture(content, form, fit=fit), fit=fit)], form, fit=fit, batch=False)


def read_files(files: Sequence[tuple[bytes, str]], *, fit: bool) -> ReadImages:
    """Read the images of a form from (content, media type). Raises `InvalidImage`, `UnsupportedMediaType`."""
    if not files:
        raise InvalidImage("The form has no file.", "Send each image as a file: curl -F image=@digit.png")
    check_count(len(files))
    forms = [_form_of(content, media_type) for content, media_type in files]
    if "json" in forms or "npy" in forms:
        raise UnsupportedMediaType("A file of a form must be a picture or 784 raw bytes, not JSON or .npy.")
    read = _each_file([content for content, _ in files], forms, fit=fit)
    return gather_images(read, forms[0], fit=fit, batch=len(files) > 1)


def _each_file(contents: Sequence[bytes], forms: Sequence[Form], *, fit: bool) -> Iterator[FittedDigit]:
    """Decode the files one at a time, so that only one large picture is in memory."""
    pixels = 0
    for content, form in zip(contents, forms, strict=True):
        pixels += IMAGE_PIXELS if form == "raw" else area_of(content)
        if pixels > MAX_PIXELS:
            raise InvalidImage(f"The pictures have more than {MAX_PIXELS:,} pixels together.", "Send fewer at a time.")
        picture = _one_raw(content) if form == "raw" else decode_picture(content, form, fit=fit)
        yield as_seen(picture, fit=fit)


def _form_of(content: bytes, media_type: str) -> Form:
    if not content:
        raise InvalidImage("The body is empty.", f"Send one of: {READABLE}.")
    if media_type in _FORMS and not _is_odd_octet_stream(content, media_type):
        return _FORMS[media_type]
    if media_type not in (*_UNSAID, "application/octet-stream"):
        raise UnsupportedMediaType(f"The media type {media_type} is not supported.", f"Send one of: {READABLE}.")
    signed = _signed_form(content)
    if signed is not None:
        return signed
    stripped = content.strip()
    if stripped[:1] in (b"[", b"{") and stripped[-1:] in (b"]", b"}"):
        return "json"
    if len(content) % IMAGE_PIXELS == 0:
        return "raw"
    raise UnsupportedMediaType(
        f"The request declares no usable type, and its {len(content)} bytes are neither PNG, JPEG, JSON nor 784 "
        "bytes per image.",
        f"Declare one of: {READABLE}.",
    )


def _signed_form(content: bytes) -> Form | None:
    """Return the format whose signature begins the content, if any."""
    if not content.startswith(_BEGINNINGS):
        return None
    return next(form for signature, form in _SIGNATURES.items() if content.startswith(signature))


def _is_odd_octet_stream(content: bytes, media_type: str) -> bool:
    """Return whether an application/octet-stream is in fact a picture or .npy: many clients declare files like this.

    No digit begins with the signature of PNG or .npy. JPEG's three bytes can begin one, so the length decides as well.
    """
    if media_type != "application/octet-stream":
        return False
    form = _signed_form(content)
    return form in ("png", "npy") or (form == "jpeg" and len(content) % IMAGE_PIXELS != 0)


def _read_raw(content: bytes) -> Pixels:
    count, rest = divmod(len(content), IMAGE_PIXELS)
    if rest or not count:
        raise InvalidImage(f"{len(content)} raw bytes are not a multiple of 784.", "Send one byte per pixel, by rows.")
    check_count(count)
    return np.frombuffer(content, np.uint8).reshape(count, SIDE, SIDE)


def _one_raw(content: bytes) -> Pixels:
    images = _read_raw(content)
    if len(images) != 1:
        raise InvalidImage(f"A file holds {len(images)} raw images.", "Send one image per file, or one raw body.")
    return images.reshape(SIDE, SIDE)


def _read_json(content: bytes, *, fit: bool, scale: Scale) -> ReadImages:
    pixels = pixels_of(parse_images(content))
    if isinstance(pixels, str):
        return read_base64(pixels, fit=fit)
    levels, batch = as_array(pixels, fit=fit)
    return images_of_levels(levels, "json", fit=fit, scale=scale, batch=batch)


def read_base64(text: str, *, fit: bool) -> ReadImages:
    """Read a picture or raw bytes in base64; the prefix of a data URL is ignored."""
    try:
        content = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
    except ValueError as error:
        raise InvalidImage(f"The image is not base64: {error}.", "Encode the bytes of the file.") from error
    form = _form_of(content, "")
    if form in ("json", "npy"):
        raise InvalidImage(f"The base64 holds {form}.", "Encode a PNG, a JPEG or 784 raw bytes.")
    return read_body(content, "", fit=fit, scale="255")
