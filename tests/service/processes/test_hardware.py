from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from service.processes import hardware
from service.processes.hardware import processor_name, usable_cores, visible_gpus


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi that lists three GPUs."""
    tool = tmp_path / "nvidia-smi"
    lines = "".join(f"echo 'GPU {index}: NVIDIA Something (UUID: GPU-{index})'\n" for index in range(3))
    tool.write_text(f"#!/bin/sh\n{lines}")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


def test_gpus_are_those_that_the_driver_lists(driver: Path) -> None:
    assert visible_gpus() == ["0", "1", "2"]
    driver.unlink()
    assert visible_gpus() == []


@pytest.mark.parametrize(("chosen", "expected"), [("", []), ("-1", []), ("3", ["3"]), ("GPU-5a, 1", ["GPU-5a", "1"])])
def test_the_users_choice_of_gpus_is_kept(
    chosen: str, expected: list[str], driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus() == expected


def test_a_driver_that_hangs_is_no_gpu(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_arguments: object, **_keywords: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(subprocess, "run", hang)
    assert visible_gpus() == []


def test_cores_are_those_of_the_affinity_and_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr(hardware, "CGROUP_CPU_LIMIT", limit)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)
    assert usable_cores() == 8
    for content, expected in (("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1)):
        limit.write_text(content)
        assert usable_cores() == expected


def test_the_processor_has_a_name() -> None:
    assert processor_name()
