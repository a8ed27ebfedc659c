from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.checkpoint import (
    CheckpointMetadata,
    Weights,
    decode,
    decode_resume,
    encode,
    encode_resume,
    read_metadata,
    weights_sha256,
)
from models.errors import CheckpointDamaged
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.training.snapshot import Snapshot

SPEC = TrainSpec(architecture=Architecture(hidden=(4, 3)))


def weights() -> Weights:
    return SPEC.first_network(torch.zeros((0, 784), dtype=torch.uint8)).to_weights()


def metadata(of: Weights, spec: TrainSpec = SPEC) -> CheckpointMetadata:
    return CheckpointMetadata(
        spec=spec, epoch=2, final=False, data="mnist", data_sha256="ab", weights_sha256=weights_sha256(of)
    )


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    given = weights()
    found = decode(encode(given, metadata(given)))
    assert found.metadata == metadata(given)
    assert set(found.weights) == set(given)
    assert all(np.array_equal(found.weights[name], given[name]) for name in given)


def test_the_metadata_are_read_from_the_header_alone() -> None:
    content = encode(weights(), metadata(weights()))
    header = 8 + int.from_bytes(content[:8], "little")
    assert read_metadata(io.BytesIO(content[:header])) == metadata(weights())
    for damaged in (b"", content[:20], b"\xff" * 100, bytes(100)):
        with pytest.raises(CheckpointDamaged):
            read_metadata(io.BytesIO(damaged))


def test_any_reader_of_safetensors_can_load_the_weights_into_torch_modules(tmp_path: object) -> None:
    import safetensors.torch

    given = weights()
    loaded = safetensors.torch.load(encode(given, metadata(given)))
    linear = torch.nn.Linear(784, 4)
    linear.load_state_dict({"weight": loaded["layers.0.weight"], "bias": loaded["layers.0.bias"]})


def test_the_hash_is_over_names_shapes_and_little_endian_values_in_the_order_of_names() -> None:
    digest = hashlib.sha256()
    digest.update(b"a\x002\x00" + struct.pack("<2f", 1.0, -2.5))
    digest.update(b"b\x001x1\x00" + struct.pack("<f", 3.0))
    given = {"b": np.array([[3.0]], np.float32), "a": np.array([1.0, -2.5], np.float32)}
    assert weights_sha256(given) == digest.hexdigest()


def test_the_hash_sees_one_changed_bit_and_a_changed_shape() -> None:
    given = {"a": np.ones((2, 2), np.float32)}
    changed = np.ones((2, 2), np.float32)
    changed[1, 1] = np.nextafter(np.float32(1), np.float32(2))
    assert (
        len({weights_sha256(given), weights_sha256({"a": changed}), weights_sha256({"a": np.ones(4, np.float32)})}) == 3
    )


def test_resume_tensors_are_read_as_they_were_written() -> None:
    state = {"exp_avg": np.arange(6, dtype=np.float32), "step": np.array([4.0], np.float32)}
    found = decode_resume(encode_resume(state, 3), 3)
    assert set(found) == set(state)
    assert all(np.array_equal(found[name], state[name]) for name in state)


def test_a_resume_file_without_memory_is_one_all_the_same_and_knows_its_epoch() -> None:
    content = encode_resume({}, 3)
    assert decode_resume(content, 3) == {}
    with pytest.raises(CheckpointDamaged, match=r"epoch \[3\.0\], not of epoch 4"):
        decode_resume(content, 4)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda _content: b"",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content.replace(b"format_version", b"format_versiom"),
        lambda content: b"\xff" * 8 + content[8:],
    ],
    ids=["cut", "cut header", "empty", "bit flip", "metadata", "header length"],
)
def test_damage_is_seen(damage: Callable[[bytes], bytes]) -> None:
    given = weights()
    with pytest.raises(CheckpointDamaged):
        decode(damage(encode(given, metadata(given))))


def test_weights_that_do_not_belong_to_their_spec_are_refused() -> None:
    given = weights()
    other = TrainSpec(architecture=Architecture(hidden=(5, 3)))
    with pytest.raises(CheckpointDamaged, match="its spec needs"):
        decode(encode(given, metadata(given, other)))


def test_a_snapshot_is_what_a_checkpoint_holds() -> None:
    snapshot = Snapshot(0, weights(), {})
    assert decode(encode(snapshot.weights, metadata(snapshot.weights))).metadata.spec == SPEC
