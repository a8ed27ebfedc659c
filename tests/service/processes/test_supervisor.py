from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from service.processes import supervisor as supervisor_module
from service.processes.supervisor import EXIT_WRONG_USE, MAX_BACK_OFF_S, Child, Supervisor, slot_children
from service.processes.worker_environment import worker_environment
from service.settings import Settings


class Scripted(Child):
    """A child that runs a line of Python instead of a role of the service."""

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", self.arguments[0]], stdin=subprocess.PIPE)
        self.started_at = time.monotonic()


def test_a_machine_without_gpus_gets_one_worker_with_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "visible_gpus", list)
    monkeypatch.setattr(supervisor_module, "usable_cores", lambda: 8)
    (child,) = slot_children(Settings())
    assert child.arguments == ["slot", "cpu-0", "--threads", "8"]
    assert child.environment == worker_environment(Settings().home) | {"CUDA_VISIBLE_DEVICES": ""}


def test_cpu_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "visible_gpus", list)
    monkeypatch.setattr(supervisor_module, "usable_cores", lambda: 8)
    children = slot_children(Settings(slots=3))
    assert [child.arguments[1] for child in children] == ["cpu-0", "cpu-1", "cpu-2"]
    assert {child.arguments[3] for child in children} == {"2"}
    (child,) = slot_children(Settings(slot_threads=5))
    assert child.arguments[3] == "5"


def test_every_gpu_gets_a_worker_that_sees_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "visible_gpus", lambda: ["0", "GPU-5a"])
    children = slot_children(Settings())
    assert [child.arguments[1] for child in children] == ["cuda-0", "cuda-1"]
    assert [child.environment["CUDA_VISIBLE_DEVICES"] for child in children] == ["0", "GPU-5a"]


def test_what_dies_is_started_again_after_pauses_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    starts: list[float] = []

    class Dying(Child):
        def start(self) -> None:
            starts.append(clock[0])
            self.process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"], stdin=subprocess.PIPE)
            self.process.wait()
            self.started_at = clock[0]

    child = Dying("worker", [])
    watcher = Supervisor([child])
    child.start()
    while len(starts) < 9:
        assert watcher._look_after(child) == 0
        clock[0] += 0.05
    watcher._stop_all()
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[0] == pytest.approx(0.5, abs=0.2)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(MAX_BACK_OFF_S, abs=0.2)


def test_workers_that_may_end_are_told_so_and_the_service_ends_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "visible_gpus", list)
    first, second = slot_children(Settings(slots=2), ["--max-runs", "1"])
    assert first.arguments[-2:] == second.arguments[-2:] == ["--max-runs", "1"]
    assert first.may_end
    assert not slot_children(Settings())[0].may_end
    children = [Scripted(name, ["pass"], may_end=True) for name in ("one", "two")]
    assert Supervisor(children).run() == 0
    assert all(child.is_done for child in children)


def test_a_worker_that_may_end_and_fails_is_started_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    fails_once = (
        "import pathlib, sys\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        "again = mark.exists()\n"
        "mark.touch()\n"
        "sys.exit(0 if again else 1)"
    )
    child = Scripted("worker", [fails_once], may_end=True)
    assert Supervisor([child]).run() == 0
    assert child.failures == 1


def test_what_cannot_work_ends_the_service_and_all_others() -> None:
    good = Scripted("good", ["import time; time.sleep(60)"])
    bad = Scripted("bad", [f"raise SystemExit({EXIT_WRONG_USE})"])
    assert Supervisor([good, bad]).run() == EXIT_WRONG_USE
    assert good.process is not None
    assert good.process.poll() is not None


def test_a_child_that_ignores_the_request_to_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "STOP_LIMIT_S", 0.5)
    deaf = Scripted(
        "deaf", ["import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"]
    )
    supervisor = Supervisor([deaf])
    supervisor.stop()
    assert supervisor.run() == 0
    assert deaf.process is not None
    assert deaf.process.poll() is not None


INTERRUPTED = """
import sys
from service.processes.supervisor import Supervisor

supervisor = Supervisor([])
is_nested = False

def interrupt(_frame, event, _argument):
    global is_nested
    if event == "line" and not is_nested:
        is_nested = True
        supervisor.stop()
        is_nested = False
    return interrupt

sys.settrace(interrupt)
supervisor.stop()
"""
"""A second signal arrives before every line that the handler of the first runs, in the library too."""


def test_a_signal_that_interrupts_the_handler_of_another_does_not_wait_for_it() -> None:
    """A service manager and a terminal may each send one; the second handler then runs inside the first."""
    subprocess.run([sys.executable, "-c", INTERRUPTED], check=True, timeout=20)
