"""Keep the processes of one machine alive: the API and one worker per device slot.

Every process is started fresh (never forked) as a direct child, holds a pipe to its parent, and ends itself when
the pipe closes: if the supervisor is killed, nothing is left behind.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.processes.hardware import usable_cores, visible_gpus
from service.processes.worker_environment import worker_environment
from service.settings import Settings

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 0.1
FIRST_BACK_OFF_S = 0.5
MAX_BACK_OFF_S = 30.0
STABLE_AFTER_S = 60.0
STOP_LIMIT_S = 20.0
EXIT_WRONG_USE = 78  # sysexits.h EX_CONFIG: starting again would not help
EXIT_TRY_AGAIN = 75  # sysexits.h EX_TEMPFAIL: starting again may help


@dataclass
class Child:
    """One process to keep alive."""

    name: str
    arguments: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    may_end: bool = False
    """Whether it is done if it exits with status 0; otherwise it is started again."""
    is_done: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    failures: int = 0

    def start(self) -> None:
        """Start the process, in a process group of its own so that Ctrl-C reaches the supervisor alone."""
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-m", "service", *self.arguments, "--supervised"],
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            process_group=0,
        )
        self.started_at = time.monotonic()


class Supervisor:
    """Starts the child processes, restarts with back-off those that end, and stops them all at the end."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._is_stopping = False

    def stop(self, *_signal: object) -> None:
        """Ask `run` to end; may be called from a signal handler, while another call of it is interrupted.

        It takes no lock therefore. An `Event` takes one, so that a second signal would wait for ever for the first.
        """
        self._is_stopping = True

    def run(self) -> int:
        """Run until `stop`, until all children are done, or one exits with `EXIT_WRONG_USE`; return the exit status."""
        status = 0
        try:
            for child in self._children:
                child.start()
            while status == 0 and not self._is_stopping and not all(child.is_done for child in self._children):
                time.sleep(LOOK_INTERVAL_S)
                if not self._is_stopping:  # else children that a signal has ended too would be started again
                    status = max(self._look_after(child) for child in self._children)
        finally:
            self._stop_all()
        return status

    def _look_after(self, child: Child) -> int:
        process, instant = child.process, time.monotonic()
        if child.is_done:
            return 0
        if process is not None:
            code = process.poll()
            if code is None:
                return 0
            if code == EXIT_WRONG_USE:
                return EXIT_WRONG_USE
            if code == 0 and child.may_end:
                log.info("%s is done", child.name)
                child.is_done = True
                return 0
            child.failures = 1 if instant - child.started_at > STABLE_AFTER_S else child.failures + 1
            pause = min(MAX_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** (child.failures - 1))
            log.warning("%s ended with status %d; it starts again in %.1f s", child.name, code, pause)
            _close_pipe(process)
            child.process, child.start_again_at = None, instant + pause
        elif instant >= child.start_again_at:
            child.start()
        return 0

    def _stop_all(self) -> None:
        living = [child.process for child in self._children if child.process is not None]
        for process in living:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_LIMIT_S
        for process in living:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_pipe(process)


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def end_with_parent() -> None:
    """Send this process SIGTERM when its parent, which holds the other end of its standard input, ends."""

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, name="parent-watch", daemon=True).start()


def slot_children(settings: Settings, limits: Sequence[str] = ()) -> list[Child]:
    """Return one worker process per device slot: each GPU, or CPU slots that share the cores.

    `limits` are more arguments of `fanin slot`, which say when a worker is done.
    """
    gpus = visible_gpus()
    count = settings.slots if settings.slots != "auto" else max(1, len(gpus))
    threads = settings.slot_threads if settings.slot_threads != "auto" else max(1, usable_cores() // count)
    children = []
    for index in range(count):
        slot = f"cuda-{index}" if index < len(gpus) else f"cpu-{index}"
        visible = {"CUDA_VISIBLE_DEVICES": gpus[index] if index < len(gpus) else ""}
        environment = visible | worker_environment(settings.home)
        arguments = ["slot", slot, "--threads", str(threads), *limits]
        children.append(Child(f"worker-{slot}", arguments, environment, may_end=bool(limits)))
    return children
