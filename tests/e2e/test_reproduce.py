"""`fanin reproduce` as a command: a service of its own, a claim, a verdict, a page, and nothing left running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.commands.local_service import environment_without_settings
from tests.e2e.conftest import ROOT, long
from tests.e2e.test_demo import running_in

pytestmark = pytest.mark.e2e


def reproduce(home: Path, data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"FANIN_HOME": str(home), "FANIN_DATA_DIR": str(data_dir)}
    return subprocess.run(
        [sys.executable, "-m", "service", "reproduce", *arguments],
        cwd=ROOT,
        env=environment_without_settings() | own,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@long
def test_a_claim_is_tried_judged_and_written_down(mnist_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.md"
    done = reproduce(tmp_path / "home", mnist_folder, "R2", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "R2  yes  different units by layer: [1, 1, 10]" in done.stdout
    assert "| R2 `zeros_sigmoid_symmetry` |" in out.read_text()
    assert running_in(tmp_path) == []


@long
def test_an_unknown_recipe_or_missing_data_is_one_clear_line(tmp_path: Path) -> None:
    unknown = reproduce(tmp_path / "home", tmp_path / "no-data", "R99")
    assert unknown.returncode == 78
    assert unknown.stderr.startswith("fanin: There are no recipes R99. There are: R1")
    missing = reproduce(tmp_path / "home", tmp_path / "no-data", "R2", "--out", str(tmp_path / "page.md"))
    assert missing.returncode == 78
    assert "R2: a member failed: MNIST" in missing.stderr
    assert running_in(tmp_path) == []
