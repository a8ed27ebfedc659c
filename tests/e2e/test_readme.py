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


SMALL = 'architecture={"hidden": [16]}, data="mnist_5k"'


def test_the_python_lines_of_the_readme_work_as_they_stand(service: Service, tmp_path: Path) -> None:
    (program,) = blocks("README.md", "python")
    (same,) = blocks("clients/python/README.md", "python")
    code, of_client = ([re.sub(r" +#.*", "", line) for line in text.splitlines()] for text in (program, same))
    assert code == of_client
    assert len(program.splitlines()) == 6
    base = 'base={"architecture": {"hidden": [16]}, "data": "mnist_5k", "epochs": 1}, '
    program = program.replace('preset="mnist_nn_xavier"', f"epochs=2, {SMALL}").replace("schemes=[", f"{base}schemes=[")
    (tmp_path / "digit.png").write_bytes(service.client.get("/datasets/mnist_5k/test/0?format=png").content)
    says = "\nprint(job.state, answer.label in range(10), table['n'].tolist())"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}{says}"],
        cwd=tmp_path,
        env=os.environ | {"FANIN_URL": service.base_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "succeeded True [5, 5, 5]\n"


@pytest.mark.parametrize("number", [0, 1], ids=["client", "httpx"])
def test_the_python_examples_of_the_tutorial_work_as_they_stand(service: Service, tmp_path: Path, number: int) -> None:
    program = blocks(TUTORIAL, "python")[number]
    program = program.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}").replace("epochs=3", f"epochs=2, {SMALL}")
    program = program.replace('"epochs": 3', '"epochs": 2, "architecture": {"hidden": [16]}, "data": "mnist_5k"')
    environment = os.environ | {"PYTHONPATH": "", "FANIN_URL": service.base_url}
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
