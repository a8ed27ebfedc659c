"""Decode posted images, from bytes and media type to uint8 [n, 28, 28], and record how they were read.

A body is first unwrapped: its format is found, and JSON is parsed, which may hold options and a picture in base64. Then
what it holds is decoded; that may take much more memory than the body has.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from models.errors import InvalidImage
from models.inference.fitted_digit import FittedDigit
from service.errors import UnsupportedMediaType
from service.http.json_body import JSON, UTF_8_MARK, UTF_16_MARKS, parse_images
from service.inference.images import (
    IMAGE_PIXELS,
    MAX_PIXELS,
    Form,
    ReadImages,
    as_seen,
    check_count,
    gather_images,
)
from service.inference.picture_headers import BYTES_A_PIXEL, decoding_bytes, picture_form
from service.inference.pictures import decode_picture
from service.inference.pixel_numbers import as_array, images_of_levels, pixels_of, read_npy
from service.inference.query import PredictQuery, with_options
from service.inference.raw_images import read_raw

READABLE = (
    "image/png, image/jpeg, image/webp, image/avif, image/bmp, image/gif, application/octet-stream (784 bytes an "
    "image), application/x-npy, application/json, multipart/form-data"
)
OCTETS, NPY = "application/octet-stream", "application/x-npy"
NO_TYPE = {"binary/octet-stream": OCTETS}
"""What object stores call bytes of which they know nothing."""

UNSAID = ("", "application/x-www-form-urlencoded", "*/*")
"""Media types of clients that set none, such as curl -d."""

IN_BASE64 = ";base64,"
MAX_DATA_URL_HEAD = 200
WHITE = re.compile(r"\s+")
URL_ALPHABET = str.maketrans("-_", "+/")


class Unwrapped(NamedTuple):
    """The content of a body: bytes, or what was parsed of JSON; its format; and the options of the request."""

    content: bytes
    numbers: Any
    form: Form
    query: PredictQuery


def unwrap(content: bytes, media_type: str, query: PredictQuery) -> Unwrapped:
    """Find out what a body is; `media_type` is without parameters, and empty if the client sent none.

    Options beside the image in JSON are those of the query. Raises `InvalidImage`, `MalformedBody`,
    `UnsupportedMediaType`, `RequestValidationError`.
    """
    form = form_of(content, media_type)
    if form != "json":
        return Unwrapped(content, None, form, query)
    pixels, options = pixels_of(parse_images(content))
    if options:
        query = with_options(query, options)
    if not isinstance(pixels, str):
        return Unwrapped(b"", pixels, "json", query)
    picture = from_base64(pixels)
    return Unwrapped(picture, None, _form_of_base64(picture), query)


def read_unwrapped(body: Unwrapped) -> ReadImages:
    """Read the images of an unwrapped body. Raises `InvalidImage`."""
    query, form = body.query, body.form
    if query.shape is not None and form != "raw":
        raise InvalidImage(f"`shape` describes raw bytes; the body is {form}.", "Leave it out.")
    if form == "json":
        levels, batch = as_array(body.numbers, fit=query.fit)
        return images_of_levels(levels, "json", fit=query.fit, scale=query.scale, batch=batch)
    if form == "npy":
        return read_npy(body.content, fit=query.fit, scale=query.scale)
    if form == "raw":
        return read_raw(body.content, query.shape, fit=query.fit)
    picture = decode_picture(body.content, form, fit=query.fit)
    return gather_images([as_seen(picture, fit=query.fit)], form, fit=query.fit, batch=False)


def read_files(files: Sequence[tuple[bytes, str]], *, fit: bool) -> ReadImages:
    """Read the images of a form from (content, media type). Raises `InvalidImage`, `UnsupportedMediaType`."""
    if not files:
        raise InvalidImage("The form has no file.", "Send each image as a file: curl -F image=@digit.png")
    check_count(len(files))
    forms = [form_of(content, media_type) for content, media_type in files]
    if "json" in forms or "npy" in forms:
        raise UnsupportedMediaType("A file of a form must be a picture or 784 raw bytes, not JSON or .npy.")
    read = _each_file([content for content, _ in files], forms, fit=fit)
    return gather_images(read, forms[0], fit=fit, batch=len(files) > 1)


def _each_file(contents: Sequence[bytes], forms: Sequence[Form], *, fit: bool) -> Iterator[FittedDigit]:
    """Decode the files one at a time, so that only one large picture is in memory."""
    pixels = 0
    for content, form in zip(contents, forms, strict=True):
        pixels += IMAGE_PIXELS if form == "raw" else decoding_bytes(content) // BYTES_A_PIXEL
        if pixels > MAX_PIXELS:
            raise InvalidImage(f"The pictures have more than {MAX_PIXELS:,} pixels together.", "Send fewer at a time.")
        picture = (
            read_raw(content, None, fit=False).images[0] if form == "raw" else decode_picture(content, form, fit=fit)
        )
        yield as_seen(picture, fit=fit)


def form_of(content: bytes, media_type: str) -> Form:
    """Return the format of a body: that of its bytes, if they are a picture or .npy, else the declared one.

    Many clients declare a picture of another format, or mere bytes. Raises `InvalidImage` if the body is empty, and
    `UnsupportedMediaType`.
    """
    if not content:
        raise InvalidImage("The body is empty.", f"Send one of: {READABLE}.")
    media_type = NO_TYPE.get(media_type, media_type)
    is_picture = media_type.startswith("image/")
    if not is_picture and media_type not in (*UNSAID, OCTETS, NPY, JSON) and not media_type.endswith("+json"):
        hint = "Declare application/json." if _is_json(content) else f"Send one of: {READABLE}."
        raise UnsupportedMediaType(f"The media type {media_type} is not supported.", hint)
    if len(content) == IMAGE_PIXELS and media_type == OCTETS and content[:4] not in (b"\x89PNG", b"\x93NUM"):
        return "raw"  # the first bytes of a digit could be those of another format
    found = None if media_type == JSON else picture_form(content)
    if found is not None:
        return found
    if is_picture:
        raise UnsupportedMediaType(
            f"The body is declared as {media_type}, but its bytes are none of the pictures that are read.",
            f"Send one of: {READABLE}.",
        )
    if media_type == NPY:
        return "npy"
    if media_type == JSON or media_type.endswith("+json") or _is_json(content):
        return "json"
    return "raw"


def _is_json(content: bytes) -> bool:
    """Return whether a body without a type begins as JSON; one of the length of a digit must end so as well."""
    if content.startswith(UTF_16_MARKS):
        return True  # the reader of JSON says what is wrong
    stripped = content.removeprefix(UTF_8_MARK).strip()
    is_ended = stripped[-1:] in (b"]", b"}") or len(content) % IMAGE_PIXELS != 0
    return stripped[:1] in (b"[", b"{") and is_ended


def from_base64(text: str) -> bytes:
    """Return the bytes of base64: also in lines, in the URL alphabet, without padding, or as a data URL.

    Raises `InvalidImage`.
    """
    begin = text[:MAX_DATA_URL_HEAD].lower()
    if begin.startswith(("http://", "https://")):
        raise InvalidImage("The image is a URL; pictures are not fetched.", "Send the bytes of the file, in base64.")
    if begin.startswith("data:"):
        if IN_BASE64 not in begin:
            raise InvalidImage("The data URL is not in base64.", "Send data:image/png;base64,...")
        text = unquote(text[begin.index(IN_BASE64) + len(IN_BASE64) :])
    plain = WHITE.sub("", text).translate(URL_ALPHABET).rstrip("=")
    try:
        content = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(f"The image is not base64: {error}.", "Encode the bytes of the file.") from error
    if not content:
        raise InvalidImage("The base64 is empty.", "Encode the bytes of the file.")
    return content


def _form_of_base64(content: bytes) -> Form:
    form = form_of(content, "")
    if form in ("json", "npy"):
        raise InvalidImage(f"The base64 holds {form}.", "Encode a picture or 784 raw bytes.")
    return form
