"""Run `fanin serve` as a child process on a free port, for the commands, the benchmarks and the tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import httpx

from models.errors import FaninError

START_LIMIT_S = 60.0
ANSWER_LIMIT_S = 2.0
STOP_LIMIT_S = 30.0
LOOK_INTERVAL_S = 0.1
LISTENING_SETTINGS = {"FANIN_HOST", "FANIN_PORT", "FANIN_API_KEY", "FANIN_INSECURE"}


class ServiceFailed(FaninError):
    """The child process ended, or was not ready in time."""


class LocalService:
    """A service on this machine. `environment` is its whole environment; its output is appended to `log`.

    `sleep` waits between two looks at a service that starts.
    """

    def __init__(self, environment: Mapping[str, str], log: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._sleep = sleep
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = {**environment, "FANIN_PORT": str(self.port)}

    def start(self) -> None:
        """Start the service and wait until it is ready. Raises `ServiceFailed`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self.is_ready():
            status = self.process.poll()
            if status is not None:
                raise ServiceFailed(f"The service ended with status {status}.", f"Its log: {self.log}")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"The service was not ready after {START_LIMIT_S:.0f} s.", f"Its log: {self.log}")
            self._sleep(LOOK_INTERVAL_S)

    def is_ready(self) -> bool:
        """Return whether `GET /readyz` returns 200."""
        try:
            answer = httpx.get(f"{self.base_url}/readyz", timeout=ANSWER_LIMIT_S, trust_env=False)  # without a proxy
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the service, wait until it has ended, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


def users_environment() -> dict[str, str]:
    """Return the environment of the user without the settings of address and key.

    A service on loopback that ends with its command needs no key. All other settings are kept.
    """
    return {name: value for name, value in os.environ.items() if name not in LISTENING_SETTINGS}


class Termination:
    """Notes SIGTERM, and ends the command at its next `sleep`, so that it stops the service that it has started.

    An exception from the signal handler could interrupt code that holds a lock. The thread of a progress bar then waits
    for that lock, the main thread waits for that thread, and the command never ends.
    """

    def __init__(self) -> None:
        self._is_asked = False
        signal.signal(signal.SIGTERM, self._note)

    def sleep(self, seconds: float) -> None:
        """Sleep. Raises `SystemExit` with the status of SIGTERM, 143, if it has arrived."""
        if not self._is_asked:
            time.sleep(seconds)
        self.check()

    def check(self) -> None:
        """Raise `SystemExit` with the status of SIGTERM, 143, if it has arrived."""
        if self._is_asked:
            raise SystemExit(128 + signal.SIGTERM)

    def _note(self, *_signal: object) -> None:
        self._is_asked = True


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_without_settings() -> dict[str, str]:
    """Return this process's environment without any setting of Fanin."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FANIN_")}
