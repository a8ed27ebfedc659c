"""Files of weights: their formats, and how safetensors are read: a header in JSON, then the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

MAX_HEADER_BYTES = 4 * 2**20


WeightsFormat = Literal["safetensors", "npz", "onnx"]
_OF_NAME: dict[str, WeightsFormat] = {".safetensors": "safetensors", ".npz": "npz", ".onnx": "onnx"}


def format_of(file: Path) -> WeightsFormat:
    """Return the format of weights that a file's name says. Raises `ValueError` if it says none."""
    if file.suffix.lower() not in _OF_NAME:
        raise ValueError(f"{file.name!r} says no format: name it .safetensors, .npz or .onnx, or pass format=.")
    return _OF_NAME[file.suffix.lower()]


class StoredTensor(NamedTuple):
    """A tensor of a file: its name, its shape, and its float32 values in little-endian, row-major order."""

    name: str
    shape: tuple[int, ...]
    content: memoryview


def tensors_in(file: bytes) -> Iterator[StoredTensor]:
    """Yield the tensors of a file. Raises `ValueError` if it is not a whole file of float32 tensors."""
    length = int.from_bytes(file[:8], "little")
    if not 0 < length <= min(MAX_HEADER_BYTES, len(file) - 8):
        raise ValueError("This is not a file of safetensors: its header has no length.")
    header: dict[str, Any] = json.loads(file[8 : 8 + length])
    body = memoryview(file)[8 + length :]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        count = 1
        for side in shape:
            count *= side
        if entry["dtype"] != "F32" or not 0 <= first <= end <= len(body) or end - first != 4 * count:
            raise ValueError(f"The tensor {name!r} of the file is not whole, or not float32.")
        yield StoredTensor(name, shape, body[first:end])
