from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.processes import supervisor
from service.processes.supervisor import slot_children
from service.processes.worker_environment import SETTINGS, SWITCH_INTERVAL_S, prepare_interpreter, worker_environment
from service.settings import Settings

FRESH_PAGES = """
import resource
import numpy as np

np.ones(2**17)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    np.ones(2**17)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def fresh_pages(environment: dict[str, str]) -> int:
    """Return how many pages come from the system when 1 MiB is used and freed forty times."""
    command = [sys.executable, "-c", FRESH_PAGES]
    return int(subprocess.run(command, env=os.environ | environment, check=True, capture_output=True).stdout)


@pytest.mark.skipif(not hasattr(os, "confstr") or "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="needs glibc")
def test_a_worker_uses_memory_again_that_it_has_freed() -> None:
    assert fresh_pages(SETTINGS) < 500
    assert fresh_pages(dict.fromkeys(SETTINGS, str(2**17))) > 5000


def test_every_worker_is_started_with_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*SETTINGS, "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(supervisor, "visible_gpus", lambda: ["0"])
    (child,) = slot_children(Settings(home=tmp_path))
    kernels = {"TRITON_CACHE_DIR": str(tmp_path / "triton")}
    assert child.environment == SETTINGS | kernels | {"CUDA_VISIBLE_DEVICES": "0"}


def test_what_the_owner_of_a_machine_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, *others = SETTINGS
    monkeypatch.setenv(first, "1")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/elsewhere")
    for name in others:
        monkeypatch.delenv(name, raising=False)
    assert worker_environment(tmp_path) == {name: SETTINGS[name] for name in others}


def test_threads_of_a_worker_take_turns_sooner_than_pythons_own() -> None:
    before = sys.getswitchinterval()
    try:
        prepare_interpreter()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        sys.setswitchinterval(before)
    assert before > SWITCH_INTERVAL_S
