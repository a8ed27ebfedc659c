"""Start the interpreter's tests with the others: they take 40 s of one core, and many others wait for processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
FOLDER = Path(__file__).parent / "interpreted"
INTERPRETED = "test_interpreted.py"
LOWEST_PRIORITY = 19


class Interpreted:
    """The tests in `interpreted`, in a process where Triton interprets kernels instead of compiling them."""

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with this process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)],
            cwd=ROOT,
            env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdout=self._output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.nice(LOWEST_PRIORITY),
        )

    def result(self, limit_s: float) -> tuple[int, str]:
        """Wait for the end; return the exit status and the output."""
        status = self._process.wait(limit_s)
        self._output.seek(0)
        return status, self._output.read()

    def end(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait()


STARTED = pytest.StashKey[Interpreted]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the process if its test is among the collected ones."""
    is_wanted = any(item.path.name == INTERPRETED for item in session.items) and not session.config.option.collectonly
    if is_wanted and find_spec("triton") is not None and "FANIN_TEST_KERNELS" in os.environ:
        session.config.stash[STARTED] = Interpreted()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the process if the tests were interrupted."""
    if STARTED in session.config.stash:
        session.config.stash[STARTED].end()


@pytest.fixture
def interpreted(request: pytest.FixtureRequest) -> Interpreted:
    """Return the process that was started with the tests."""
    if STARTED not in request.config.stash:
        pytest.skip("interprets kernels for 40 s, where Triton is (with torch for CUDA on Linux): make test-kernels")
    return request.config.stash[STARTED]
