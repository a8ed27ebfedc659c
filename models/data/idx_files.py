"""Find the four files of MNIST in a folder, under each of the names by which people have them, and read them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataDamaged

MAX_BYTES = 64 * 2**20
"""The largest file of MNIST has 47 MB."""


def raw_folder(folder: Path) -> Path:
    """Return the folder in which torchvision keeps the idx files, under a data folder."""
    return folder / "MNIST" / "raw"


def locate(folder: Path, names: Collection[str]) -> dict[str, Path]:
    """Return the file of each name, in torchvision's folder or in `folder` itself; of those that are there.

    `train-images-idx3-ubyte` may also be `train-images.idx3-ubyte`, as others unpack it, or end in `.gz`.
    """
    places = (raw_folder(folder), folder)
    found = {}
    for name in names:
        for path in (place / other for other in _names_of(name) for place in places):
            if path.is_file():
                found[name] = path
                break
    return found


def _names_of(name: str) -> tuple[str, ...]:
    dotted = name.replace("-idx", ".idx")
    return name, dotted, f"{name}.gz", f"{dotted}.gz"


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, decompressed if it ends in `.gz`. Raises `DataDamaged`."""
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DataDamaged(f"{path} cannot be decompressed: {error}.", "Delete it and fetch MNIST again.") from error


def array_of(content: bytes) -> NDArray[np.uint8]:
    """Return the array of an idx file: two zero bytes, the type, the number of dimensions, their sizes, the values."""
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape.astype(int))
