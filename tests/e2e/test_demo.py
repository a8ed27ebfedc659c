"""The demo as a newcomer runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machines import wait_until
from service.commands.local_service import environment_without_settings
from tests.e2e.conftest import AS_AN_EQUAL, ROOT

pytestmark = pytest.mark.e2e


def test_the_demo_trains_predicts_and_leaves_nothing_running(tmp_path: Path) -> None:
    environment = environment_without_settings() | {
        **AS_AN_EQUAL,
        "FANIN_HOME": str(tmp_path / "var"),
        "FANIN_DATA_DIR": str(tmp_path / "data"),
    }
    for _ in range(2):  # a second run reuses what is there
        done = subprocess.run(
            [sys.executable, "-m", "service", "demo", "--epochs", "2"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    output = done.stdout
    assert re.search(r"Accuracy \d\d\.\d\d% on 1,000 images of held-out MNIST training digits", output)
    assert re.search(r"95 % interval \d\d\.\d\d% to \d\d\.\d\d%", output)
    assert "python -m models fetch" in output  # how to get the full set
    assert re.search(r"Test digit 0 is a \d; the model says \d", output)
    assert output.count("curl ") >= 2
    assert running_in(tmp_path) == []


def test_a_demo_that_is_asked_to_stop_leaves_nothing_running(tmp_path: Path) -> None:
    environment = environment_without_settings() | {
        **AS_AN_EQUAL,
        "FANIN_HOME": str(tmp_path),
        "FANIN_DATA_DIR": str(tmp_path / "data"),
    }
    demo = subprocess.Popen(
        [sys.executable, "-m", "service", "demo"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    wait_until(lambda: len(running_in(tmp_path)) >= 4, what="the demo's processes")
    demo.terminate()
    assert demo.wait(40) == 143
    assert running_in(tmp_path) == []


def running_in(folder: Path) -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/environ") if _mentions(path, str(folder))]


def _mentions(path: Path, text: str) -> bool:
    try:
        return f"FANIN_HOME={text}".encode() in path.read_bytes()
    except OSError:
        return False
