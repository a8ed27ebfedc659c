"""Images of any kind as the body of a request: arrays, tensors, pictures, files, numbers."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

SIDE = 28
JSON, NPY, OCTETS = "application/json", "application/x-npy", "application/octet-stream"
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
MAX_FILE_BYTES = 64 * 2**20


class ImageBody(NamedTuple):
    """The body of a request, and its media type (None: the service looks at the bytes)."""

    content: bytes
    media_type: str | None


def body_of(image: Any) -> ImageBody:
    """Return an image, or a batch of them, as a body that the service reads.

    An image is a path (str or Path), an open file or the bytes of a picture file, 784 bytes, an array of NumPy, a
    tensor of torch, a picture of Pillow, or 28 lists of 28 numbers; several are a list of them, or an array [n, 28,
    28]. Raises `TypeError` for anything else and for a list of pictures and arrays, `ValueError` for an empty list, and
    `OSError` for a file that cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return ImageBody(_read(Path(image)), None)
    if isinstance(image, bytes | bytearray | memoryview):
        return ImageBody(bytes(image), None)
    if _is_pillow(image):
        buffer = io.BytesIO()
        (image if image.mode in PNG_MODES else image.convert("RGB")).save(buffer, format="PNG")
        return ImageBody(buffer.getvalue(), "image/png")
    if hasattr(image, "read"):
        return ImageBody(_read_open(image), None)
    if hasattr(image, "detach"):  # a tensor of torch, perhaps on a GPU
        image = _array(image)
    if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        return ImageBody(_npy(image), NPY)
    if isinstance(image, Sequence):
        return _listed(image)
    raise TypeError(
        f"{type(image).__name__} is no image: send a path, an open file, the bytes of a picture, an array, a tensor, a "
        "picture of Pillow, or 28 lists of 28 numbers."
    )


def _read_open(file: Any) -> bytes:
    content = file.read()
    if not isinstance(content, bytes):
        raise TypeError("The file is open as text; open a picture with mode 'rb'.")
    return content


def _is_picture(image: Any) -> bool:
    return isinstance(image, str | os.PathLike | bytes | bytearray) or _is_pillow(image)


def _listed(images: Sequence[Any]) -> ImageBody:
    if not images:
        raise ValueError("The list is empty: send at least one image.")
    pictures = sum(map(_is_picture, images))
    if pictures == len(images):
        return _form(images)
    if pictures:
        raise TypeError("A list holds pictures (paths, bytes, pictures of Pillow) or arrays, not both.")
    if any(hasattr(one, "__array__") for one in images):
        return ImageBody(_npy([_array(one) if hasattr(one, "detach") else one for one in images]), NPY)
    return ImageBody(json.dumps({"pixels": images}, default=_number).encode(), JSON)


def _array(tensor: Any) -> Any:
    """Return a tensor of torch as an array of NumPy; types that NumPy lacks become float32."""
    plain = tensor.detach().cpu()
    try:
        return plain.numpy()
    except TypeError:
        return plain.float().numpy()


def _number(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"An image has {type(value).__name__} among its numbers.")


def _is_pillow(image: Any) -> bool:
    """Return whether this is a picture of Pillow, which need not be installed."""
    return hasattr(image, "save") and hasattr(image, "mode")


def _form(images: Sequence[Any]) -> ImageBody:
    """Return several pictures as a form with a file for each."""
    files = [("image", (f"{number}", *body_of(image))) for number, image in enumerate(images)]
    request = httpx.Request("POST", "http://form", files=files)
    return ImageBody(request.read(), request.headers["Content-Type"])


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are sent.")
    return path.read_bytes()


def _npy(array: Any) -> bytes:
    try:
        import numpy as np
    except ImportError:
        raise TypeError("Arrays are sent as .npy, which needs NumPy: pip install numpy.") from None
    numbers = np.asarray(array)
    if numbers.dtype == object:
        raise TypeError("An image has rows of different lengths, or what is no number.")
    buffer = io.BytesIO()
    np.save(buffer, numbers, allow_pickle=False)
    return buffer.getvalue()


def png_of(rows: Sequence[Sequence[int]]) -> bytes:
    """Return rows of grey levels 0 to 255 as a PNG (W3C PNG, section 5)."""
    lines = b"".join(b"\0" + bytes(row) for row in rows)
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def picture_of(image: Any) -> bytes | None:
    """Return an image as a PNG or as the file that it is, to be shown; None if it cannot be shown as it is."""
    if isinstance(image, str | os.PathLike):
        image = _read(Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        content = bytes(image)
        if len(content) == SIDE * SIDE:
            return png_of([content[SIDE * row : SIDE * (row + 1)] for row in range(SIDE)])
        return content if content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")) else None
    if _is_pillow(image):
        return body_of(image).content
    if hasattr(image, "tolist"):  # an array or a tensor
        image = image.tolist()
    rows = list(image) if isinstance(image, Sequence) else []
    if len(rows) != SIDE or not all(isinstance(row, Sequence) and len(row) == SIDE for row in rows):
        return None
    scale = 1 if max(value for row in rows for value in row) > 1 else 255
    return png_of([[min(255, max(0, round(scale * value))) for value in row] for row in rows])
