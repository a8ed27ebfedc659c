"""MNIST's four files are found under the names by which people have them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from models.data.idx_files import locate, read_bytes
from models.data.mnist import MNIST_SHA256, is_here, load, missing_from
from models.errors import DataDamaged, DataMissing


@pytest.mark.parametrize("place", [".", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-idx", ".idx"])
def test_every_usual_name_and_place_is_found(place: str, suffix: str, separator: str, tmp_path: Path) -> None:
    for name in MNIST_SHA256:
        path = tmp_path / place / (name.replace("-idx", separator) + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(name.encode()) if suffix else name.encode())
    assert is_here(tmp_path)
    assert {name: read_bytes(path) for name, path in locate(tmp_path, MNIST_SHA256).items()} == {
        name: name.encode() for name in MNIST_SHA256
    }


def test_what_is_missing_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataMissing) as caught:
        load("mnist", tmp_path, fetch=False)
    assert str(caught.value) == str(missing_from(tmp_path))
    assert "train-images" not in caught.value.detail
    assert "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte" in caught.value.detail
    assert str(tmp_path / "MNIST" / "raw") in caught.value.detail


def test_a_packed_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(DataDamaged, match=r"x\.gz cannot be decompressed"):
        read_bytes(path)


def test_a_packed_file_with_wrong_bytes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    packed = bytearray(gzip.compress(bytes(range(256)) * 40))
    packed[20:60] = bytes(byte ^ 0xFF for byte in packed[20:60])
    path.write_bytes(bytes(packed))
    with pytest.raises(DataDamaged, match=r"x\.gz cannot be decompressed"):
        read_bytes(path)
