"""A real API process with few file handles, and clients that hold connections open."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.machines import wait_until
from service.commands.local_service import environment_without_settings, free_port
from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.e2e

FILES = 256
HALF_OPEN = 300


def test_half_open_connections_beyond_the_file_handles_refuse_nobody(tmp_path: Path) -> None:
    port = free_port()
    environment = environment_without_settings() | {"FANIN_HOME": str(tmp_path), "FANIN_PORT": str(port)}

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    log = tmp_path / "api.out"
    with log.open("wb") as output:
        api = subprocess.Popen(
            [sys.executable, "-m", "service", "api"],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            preexec_fn=limit_files,
        )
    url = f"http://127.0.0.1:{port}/healthz"

    def answers() -> bool:
        try:
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, what="the API")
        with ExitStack() as half_open:
            for _ in range(HALF_OPEN):
                half_open.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)).sendall(b"GET ")
            started = time.monotonic()
            for _ in range(20):
                assert answers()
            assert time.monotonic() - started < 10
    finally:
        api.terminate()
        api.wait()
    assert "Too many open files" not in log.read_text()
    assert "FANIN_MAX_CONNECTIONS" in log.read_text()
