"""The curl and httpx lines of the README and the tutorial, run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Service

pytestmark = pytest.mark.e2e

TUTORIAL = "docs/tutorial/first-model.md"


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("document", "lines"), [("README.md", 4), (TUTORIAL, 14)])
def test_the_curl_lines_work_as_they_stand(service: Service, tmp_path: Path, document: str, lines: int) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl: apt-get install curl")
    script = "\n".join(block for block in blocks(document, "sh") if "curl" in block)
    assert script.count("curl ") >= lines
    # EpochRecords short for a test: a small net on the digits that are on every machine.
    script = script.replace(
        '{"preset": "mnist_nn_xavier"}',
        '{"preset": "mnist_nn_xavier", "architecture": {"hidden": [16]}, "epochs": 2, "data": "mnist_5k"}',
    ).replace("/datasets/mnist/", "/datasets/mnist_5k/")
    script = script.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"label":' in done.stdout
    assert "urn:fanin:problem" not in done.stdout


def test_the_httpx_example_works_as_it_stands(service: Service, tmp_path: Path) -> None:
    (program,) = blocks(TUTORIAL, "python")
    program = program.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
    program = program.replace('"epochs": 3', '"epochs": 2, "architecture": {"hidden": [16]}, "data": "mnist_5k"')
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"accuracy 0\.\d+", done.stdout)
