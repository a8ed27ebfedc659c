"""Checkpoints as bytes: safetensors with versioned JSON metadata. Nothing is ever unpickled.

A checkpoint has two files. The weights file holds the tensors that prediction needs, `layers.{i}.weight`
[fan_out, fan_in] and `layers.{i}.bias` [fan_out], float32. Its metadata holds the spec and the epoch, so that it can be
read without a database. The resume file holds the optimizer state, which only training needs. The caller stores the
files and writes them atomically. This file does not import torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import CheckpointDamaged
from models.spec import TrainSpec

Weights = Mapping[str, NDArray[np.float32]]
METADATA_KEY = "fanin"
MAX_HEADER_BYTES = 4 * 2**20
EPOCH_TENSOR = "epoch"  # stored as a tensor, because a file without tensors cannot be read


class CheckpointMetadata(BaseModel):
    """The metadata of a weights file, stored as JSON under the key `fanin` of the safetensors header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    spec: TrainSpec
    epoch: int
    final: bool
    data: str
    data_sha256: str
    weights_sha256: str


class Checkpoint(NamedTuple):
    """The content of a weights file."""

    weights: Weights
    metadata: CheckpointMetadata


def read_checked(path: str, sha256: str, what: str) -> bytes:
    """Return the content of a file, compared with its SHA-256 in hex.

    Raises `CheckpointDamaged`, which names `what` the file is, if it is missing, unreadable, or another one.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{what} cannot be read: {error.strerror}.", "Restore a backup.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointDamaged(f"{what} is damaged: its SHA-256 differs from the recorded one.", "Restore a backup.")
    return content


def weights_sha256(weights: Weights) -> str:
    """Return SHA-256 over the weights alone, in hex.

    For each tensor, sorted by name: its name in UTF-8, a zero byte, its shape as `AxB`, a zero byte, and its
    float32 values in little-endian, row-major order. Equal hashes mean bit-identical models.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = np.ascontiguousarray(weights[name], dtype="<f4")
        digest.update(name.encode() + b"\0" + "x".join(map(str, tensor.shape)).encode() + b"\0")
        digest.update(tensor.data)
    return digest.hexdigest()


def encode(weights: Weights, metadata: CheckpointMetadata) -> bytes:
    """Return the bytes of a weights file."""
    return _pack(weights, {METADATA_KEY: metadata.model_dump_json()})


def encode_resume(optimizer: Weights, epoch: int) -> bytes:
    """Return the bytes of a resume file: the optimizer state after an epoch, which may be empty."""
    return _pack({**optimizer, EPOCH_TENSOR: np.array([epoch], dtype=np.float32)}, {})


def _pack(tensors: Weights, metadata: dict[str, str]) -> bytes:
    contiguous = {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
    return safetensors.numpy.save(contiguous, metadata=metadata)


def decode(content: bytes) -> Checkpoint:
    """Return the checkpoint that a weights file holds.

    Raises `CheckpointDamaged` if it is not a weights file, or if its tensors do not match its metadata.
    """
    weights = _unpack(content)
    length = int.from_bytes(content[:8], "little")
    try:
        header = _Header.model_validate_json(content[8 : 8 + length])
        metadata = CheckpointMetadata.model_validate_json(header.metadata[METADATA_KEY])
    except (ValidationError, KeyError) as error:
        raise CheckpointDamaged(f"The checkpoint's metadata cannot be read: {error}.") from error
    expected = metadata.spec.architecture.weight_shapes
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    if shapes != expected:
        raise CheckpointDamaged(f"The checkpoint holds tensors {shapes}; its spec needs {expected}.")
    digest = weights_sha256(weights)
    if digest != metadata.weights_sha256:
        raise CheckpointDamaged(
            f"The checkpoint's weights have SHA-256 {digest}, its metadata says {metadata.weights_sha256}."
        )
    return Checkpoint(weights, metadata)


def read_metadata(file: BinaryIO) -> CheckpointMetadata:
    """Return the metadata of an open weights file, from its header alone. Raises `CheckpointDamaged`."""
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= MAX_HEADER_BYTES:
        raise CheckpointDamaged("The file is not a safetensors file: its header has no length.")
    try:
        header = _Header.model_validate_json(file.read(length))
        return CheckpointMetadata.model_validate_json(header.metadata[METADATA_KEY])
    except (ValidationError, KeyError) as error:
        raise CheckpointDamaged(f"The checkpoint's metadata cannot be read: {error}.") from error


def decode_resume(content: bytes, epoch: int) -> Weights:
    """Return the optimizer state that the resume file of an epoch holds.

    Raises `CheckpointDamaged` if it is not a resume file, or if it is of another epoch.
    """
    tensors = dict(_unpack(content))
    stored_epoch = tensors.pop(EPOCH_TENSOR, np.array([-1]))
    if stored_epoch.tolist() != [epoch]:
        raise CheckpointDamaged(f"The resume file is of epoch {stored_epoch.tolist()}, not of epoch {epoch}.")
    return tensors


def _unpack(content: bytes) -> Weights:
    try:
        return safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointDamaged(f"The file is not a whole safetensors file: {error}.") from error


class _Header(BaseModel):
    """The JSON header of a safetensors file, without the entries of its tensors."""

    metadata: dict[str, str] = Field(alias="__metadata__")
