"""The servers that `benchmarks.predict` compares, and `wrk`, which sends them requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from benchmarks.clients import data_folder
from benchmarks.machines import wait_until
from service.commands.local_service import LocalService, environment_without_settings, free_port

PEERS = Path(__file__).parent / "peers"
LATENCY = {"p50": r"50%\s+([\d.]+)(us|ms|s)", "p99": r"99%\s+([\d.]+)(us|ms|s)"}
UNIT_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Server(NamedTuple):
    """A server under test: the URL to post to, and the processes that answer."""

    url: str
    processes: list[psutil.Process]


class Load(NamedTuple):
    """The results of one run of wrk; `cpu_us` is the server's processor time per request."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float


@contextmanager
def bare_uvicorn(application: str) -> Iterator[Server]:
    """Run an ASGI application under uvicorn, alone."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        application,
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "error",
    ]
    process = subprocess.Popen([*command, "--loop", "uvloop", "--http", "httptools"])
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/predict"), 30, application)
        yield Server(f"http://127.0.0.1:{port}/predict", [psutil.Process(process.pid)])
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    """Return whether a server answers a posted image."""
    try:
        httpx.post(url, content=bytes(784))
    except httpx.TransportError:
        return False
    return True


@contextmanager
def fanin_service(home: Path, **settings: str) -> Iterator[tuple[httpx.Client, LocalService]]:
    """Run the whole service in a home."""
    environment = environment_without_settings() | {"FANIN_HOME": str(home), "FANIN_DATA_DIR": str(data_folder())}
    with (
        LocalService(environment | settings, home.with_suffix(".log")) as service,
        httpx.Client(base_url=service.base_url, timeout=60) as client,
    ):
        yield client, service


@contextmanager
def fanin_api(home: Path, processes: int = 1) -> Iterator[Server]:
    """Run API processes without workers, with the settings that `fanin serve` gives them."""
    port, environment = free_port(), environment_without_settings()
    environment |= {"FANIN_HOME": str(home), "FANIN_PORT": str(port), "FANIN_API_PROCESSES": str(processes)}
    command = [sys.executable, "-m", "service", "api"]
    running = [subprocess.Popen(command, env=environment) for _ in range(processes)]
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/predict"), 30, "the API")
        time.sleep(1.0 if processes > 1 else 0.0)
        yield Server(f"http://127.0.0.1:{port}/predict", [psutil.Process(process.pid) for process in running])
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def peer_command(name: str, python: Path, port: int, folder: Path) -> tuple[list[str], str]:
    """Return the command that starts a peer, and the URL at which it predicts."""
    url = f"http://127.0.0.1:{port}"
    if name == "litserve":
        return [str(python), str(PEERS / "litserve_server.py"), str(port)], f"{url}/predict"
    if name == "bentoml":
        command = [str(python.with_name("bentoml")), "serve", "bentoml_service:Digits", "--port", str(port)]
        return command, f"{url}/predict"
    settings = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "host": "127.0.0.1"}
    shutil.copytree(PEERS / "mlserver_model", folder / "mlserver", dirs_exist_ok=True)
    shutil.copy(PEERS / "forward.py", folder)
    (folder / "mlserver" / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    return [str(python.with_name("mlserver")), "start", str(folder / "mlserver")], f"{url}/v2/models/digits/infer"


@contextmanager
def peer_server(name: str, environments: Path, weights: Path, folder: Path) -> Iterator[Server]:
    """Run a peer's server from its own environment."""
    command, url = peer_command(name, environments / name / "bin" / "python", free_port(), folder)
    environment = environment_without_settings() | {"PEER_WEIGHTS": str(weights), "OPENBLAS_NUM_THREADS": "1"}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=PEERS, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: answers(url), 120, name)
        yield Server(url, [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wrk(server: Server, url: str, script: Path, connections: int, seconds: int) -> Load:
    """Return what wrk measures of a server."""
    before = cpu_s(server)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used_s = cpu_s(server) - before
    requests = int(re.findall(r"(\d+) requests in", output)[0])
    waits = {name: re.findall(pattern, output)[0] for name, pattern in LATENCY.items()}
    wrong = re.findall(r"Non-2xx or 3xx responses: (\d+)", output)
    socket = re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    return Load(
        per_s=float(re.findall(r"Requests/sec:\s+([\d.]+)", output)[0]),
        p50_ms=float(waits["p50"][0]) * UNIT_MS[waits["p50"][1]],
        p99_ms=float(waits["p99"][0]) * UNIT_MS[waits["p99"][1]],
        errors=sum(map(int, wrong)) + sum(map(int, socket[0] if socket else [])),
        cpu_us=1e6 * used_s / max(1, requests),
    )


def cpu_s(server: Server) -> float:
    """Return the processor time that a server has used, in seconds."""
    return sum(sum(process.cpu_times()[:2]) for process in server.processes)
