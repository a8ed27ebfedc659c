from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.object_storage import S3Server
from models.data.mnist import DataSet, Digits, is_here, load, read_mnist_5k
from models.training import kernel_step


@pytest.fixture(scope="session")
def five_thousand() -> DataSet:
    """The real digits that are on every machine: 4,000 to train on, 1,000 held out."""
    return read_mnist_5k()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A server of object storage with one bucket; a test uses addresses of its own in it."""
    server = S3Server()
    server.make_bucket()
    yield server
    server.close()


@pytest.fixture(scope="session")
def few(five_thousand: DataSet) -> DataSet:
    """400 real digits to train on and 200 to judge by: an epoch takes milliseconds."""
    train, test = five_thousand.train, five_thousand.test
    return DataSet(
        name="mnist_5k",
        train=Digits(train.images[:400], train.labels[:400]),
        test=Digits(test.images[:200], test.labels[:200]),
        evaluated_on="mnist_5k_held_out",
        sha256=five_thousand.sha256,
        description="400 and 200 digits",
    )


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the full MNIST, where there is one."""
    folder = Path(os.environ.get("FANIN_DATA_DIR", "data"))
    if not is_here(folder):
        pytest.skip("needs the full MNIST: run `make data`, or set FANIN_DATA_DIR to its folder")
    return folder


@pytest.fixture(scope="session")
def mnist(mnist_folder: Path) -> DataSet:
    return load("mnist", mnist_folder, fetch=False)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What holds itself alive stays: memory of a GPU waits for no collection, and nothing on the GPU asks for one."""
    # torch's first optimizer loads this, and what fails meanwhile holds the frames of its callers: a worker's warm-up.
    importlib.import_module("torch._dynamo")
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks on between steps is called after every single one, by whichever engine."""
    monkeypatch.setattr(kernel_step, "SECONDS_AT_ONCE", 0.0)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of this machine, so that a test says all it depends on."""
    for name in [name for name in os.environ if name.startswith("FANIN_")]:
        monkeypatch.delenv(name)
    return monkeypatch
