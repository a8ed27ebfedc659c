"""Several API processes on one port answer for each other."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from benchmarks.machines import wait_until
from tests.e2e.conftest import Service

pytestmark = pytest.mark.e2e
REQUESTS = 60


def test_metrics_are_sums_of_all_processes_whichever_answers(tmp_path: Path) -> None:
    with Service(tmp_path, tmp_path / "no-data", FANIN_API_PROCESSES="3") as service:
        for _ in range(REQUESTS):  # each on a connection of its own, which the kernel gives to some process
            assert httpx.get(f"{service.base_url}/datasets").status_code == httpx.codes.OK

        def answers() -> set[int]:
            return {counted(httpx.get(f"{service.base_url}/metrics").text) for _ in range(12)}

        wait_until(lambda: answers() == {REQUESTS}, 20, "each process to know the sums of all")
        assert len(list((tmp_path / "metrics").glob("*.json"))) == 3
        victim = service.children("api")[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(service.children("api")) == 3 and victim not in service.children("api"), 30, "another")
        wait_until(service.is_ready, 20, "it to answer")
        assert answers() == {REQUESTS}, "what a process that has ended had counted stays"


def counted(text: str) -> int:
    found = re.search(r'fanin_http_request_seconds_count\{.*route="/datasets".*\} (\d+)\.0', text)
    return 0 if found is None else int(found[1])
