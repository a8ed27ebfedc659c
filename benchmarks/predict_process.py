"""What an API process needs: memory, time to the first answer, and its predictions beside two trainings."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machines import wait_until
from benchmarks.predict_servers import Server, answers, fanin_service, wrk
from service.commands.local_service import environment_without_settings, free_port


def memory(fanin: Server) -> dict[str, int]:
    """Return the resident memory of an API process, in MiB."""
    used = {"rss_mib": round(sum(process.memory_info().rss for process in fanin.processes) / 2**20)}
    print(f"\nmemory of an API process: {used['rss_mib']} MiB")
    return used


def start_s(home: Path, model: str) -> float:
    """Return the median seconds from the start of an API process to its first answer."""
    seconds = []
    for _ in range(3):
        port, environment = free_port(), environment_without_settings()
        environment |= {"FANIN_HOME": str(home), "FANIN_PORT": str(port)}
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "service", "api"], env=environment)
        try:
            url = f"http://127.0.0.1:{port}/predict?model={model}"
            while not answers(url):
                time.sleep(0.01)
            seconds.append(time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()
    print(f"\nstart to first answer: {statistics.median(seconds):.2f} s")
    return round(statistics.median(seconds), 2)


def beside_training(home: Path, model: str, scripts: dict[str, Path], seconds: int) -> dict[str, Any]:
    """Post from 64 connections while two jobs train on the same cores."""
    with fanin_service(home, FANIN_SLOTS="2") as (client, service):
        jobs = [client.post("/jobs", json={"preset": "mnist_nn_xavier", "epochs": 1000}).json()["id"] for _ in range(2)]
        wait_until(lambda: all(client.get(f"/jobs/{job}").json()["epoch"] >= 1 for job in jobs), 120, "both to train")
        url = f"{service.base_url}/predict?model={model}"
        assert service.process is not None
        load = wrk(Server(url, [psutil.Process(service.process.pid)]), url, scripts["raw"], 64, seconds)
        for job in jobs:
            client.post(f"/jobs/{job}/cancel")
        result = {
            "seconds": seconds,
            "per_s": round(load.per_s),
            "p99_ms": round(load.p99_ms, 1),
            "errors": load.errors,
        }
    print(f"\nbeside two trainings: {result}")
    return result
