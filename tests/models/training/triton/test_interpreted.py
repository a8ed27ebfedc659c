"""Runs the tests in `interpreted` in a process where Triton interprets kernels instead of compiling them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
FOLDER = Path(__file__).parent / "interpreted"


def test_kernels_do_in_the_interpreter_what_torch_does() -> None:
    pytest.importorskip("triton", reason="Triton is not installed: it comes with torch for CUDA on Linux")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)]
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
