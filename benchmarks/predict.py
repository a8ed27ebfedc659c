"""What a prediction costs beside the HTTP server itself: requests a second, waiting times, processor time, memory.

Servers take turns under `wrk`: bare uvicorn that answers a fixed body, the same by FastAPI, and Fanin with its default
network (and the deep one), at 1, 16 and 64 connections; then Fanin with two API processes, with 1,000-image batches
beside onnxruntime in this process, and while two trainings keep the cores busy. Needs `wrk` (Debian has it).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil

from benchmarks.clients import data_folder, finished_job
from benchmarks.machines import wait_until
from benchmarks.report import print_table, write_json
from models.data.mnist import read_mnist
from service.commands.local_service import LocalService, environment_without_settings, free_port
from service.inference.image_decoding import encode_png

CONNECTIONS = (1, 16, 64)
PEERS = Path(__file__).parent / "peers"
PEER_NAMES = ("litserve", "bentoml", "mlserver")
BATCH, IN_FLIGHT = 1000, 4
BARS = {
    "raw at 1": 0.50,
    "raw at 16": 0.42,
    "raw at 64": 0.42,
    "png at 64": 0.15,
    "json at 64": 0.15,
    "deep at 64": 0.25,
}
LATENCY = {"p50": r"50%\s+([\d.]+)(us|ms|s)", "p99": r"99%\s+([\d.]+)(us|ms|s)"}
UNIT_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Server(NamedTuple):
    """A server under test: where to post, and the processes that answer."""

    url: str
    processes: list[psutil.Process]


class Load(NamedTuple):
    """What a run of wrk found."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--training-seconds", type=int, default=60)
    parser.add_argument(
        "--peers",
        type=Path,
        help="folder of virtual environments named litserve, bentoml and mlserver, each with its package",
    )
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("This needs wrk (Debian: apt-get install wrk).")
    image = read_mnist(data_folder()).test.images[0]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scripts = _scripts(Path(folder), image)
        bare, echo = (stack.enter_context(_uvicorn(f"benchmarks.bare_server:{name}")) for name in ("bare", "echo"))
        home = Path(folder) / "home"
        with _fanin(home) as (service, _):
            small, deep = _trained(service, "mnist_nn_xavier"), _trained(service, "mnist_nn_deep")
        fanin = stack.enter_context(_fanin_api(home))
        rows = {
            "bare uvicorn": (bare, "raw", bare.url),
            "FastAPI, a fixed answer": (echo, "raw", echo.url),
            "raw": (fanin, "raw", f"{fanin.url}?model={small}"),
            "png": (fanin, "png", f"{fanin.url}?model={small}"),
            "json": (fanin, "json", f"{fanin.url}?model={small}"),
            "deep": (fanin, "raw", f"{fanin.url}?model={deep}"),
        }
        found = _compared(rows, scripts, options)
        result: dict[str, Any] = {
            "requests": found,
            "memory": _memory(fanin),
            "batches": _batches(fanin, small, options),
            "forward_us": _forward_passes(fanin, {"small": small, "deep": deep}, Path(folder)),
        }
        stack.close()
        with _uvicorn("benchmarks.bare_server:bare") as bare, _fanin_api(home, processes=2) as two:
            rows = {"bare uvicorn": (bare, "raw", bare.url), "raw": (two, "raw", f"{two.url}?model={small}")}
            result["two_processes"] = _compared(rows, scripts, options, connections=(64,))
        if options.peers is not None:
            result["peers"] = _peers(home, small, scripts, options, Path(folder))
        result["start_s"] = _start_s(home, small)
        result["beside_training"] = _beside_training(home, small, scripts, options.training_seconds)
    write_json("predict", "make bench-predict", {"rounds": options.rounds, "seconds": options.seconds} | result)


# -- servers ----------------------------------------------------------------------------------------------


@contextmanager
def _uvicorn(application: str) -> Iterator[Server]:
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
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/predict"), 30, application)
        yield Server(f"http://127.0.0.1:{port}/predict", [psutil.Process(process.pid)])
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        httpx.post(url, content=bytes(784))
    except httpx.TransportError:
        return False
    return True


@contextmanager
def _fanin(home: Path, **settings: str) -> Iterator[tuple[httpx.Client, LocalService]]:
    environment = environment_without_settings() | {"FANIN_HOME": str(home), "FANIN_DATA_DIR": str(data_folder())}
    with (
        LocalService(environment | settings, home.with_suffix(".log")) as service,
        httpx.Client(base_url=service.base_url, timeout=60) as client,
    ):
        yield client, service


@contextmanager
def _fanin_api(home: Path, processes: int = 1) -> Iterator[Server]:
    """Run API processes alone, as `fanin serve` would beside its workers."""
    port, environment = free_port(), environment_without_settings()
    environment |= {"FANIN_HOME": str(home), "FANIN_PORT": str(port), "FANIN_API_PROCESSES": str(processes)}
    command = [sys.executable, "-m", "service", "api"]
    running = [subprocess.Popen(command, env=environment) for _ in range(processes)]
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/predict"), 30, "the API")
        time.sleep(1.0 if processes > 1 else 0.0)
        yield Server(f"http://127.0.0.1:{port}/predict", [psutil.Process(one.pid) for one in running])
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait()


def _peer_command(name: str, python: Path, port: int, folder: Path) -> tuple[list[str], str]:
    """Return how to start a peer, and where it predicts."""
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
def _peer(name: str, environments: Path, weights: Path, folder: Path) -> Iterator[Server]:
    command, url = _peer_command(name, environments / name / "bin" / "python", free_port(), folder)
    environment = environment_without_settings() | {"PEER_WEIGHTS": str(weights), "OPENBLAS_NUM_THREADS": "1"}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=PEERS, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: _answers(url), 120, name)
        yield Server(url, [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _peers(
    home: Path, model: str, scripts: dict[str, Path], options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Let peers take turns with Fanin, all with JSON; return rates, and Fanin's over the best peer's."""
    weights = folder / "weights.npz"
    with ExitStack() as stack:
        fanin = stack.enter_context(_fanin_api(home))
        weights.write_bytes(
            httpx.get(f"{fanin.url.removesuffix('/predict')}/models/{model}/weights?format=npz").content
        )
        bare = stack.enter_context(_uvicorn("benchmarks.bare_server:bare"))
        rows = {"bare uvicorn": (bare, "raw", bare.url)}
        rows["raw"] = (fanin, "raw", f"{fanin.url}?model={model}")
        rows["json"] = (fanin, "json", f"{fanin.url}?model={model}")
        names = [name for name in PEER_NAMES if (options.peers / name).exists()]
        for name in names:
            server = stack.enter_context(_peer(name, options.peers, weights, folder))
            rows[name] = (server, "oip" if name == "mlserver" else "pixels", server.url)
        found = _compared(rows, scripts, options)
    for count in CONNECTIONS:
        best = max(found[f"{name} at {count}"]["per_s"] for name in names)
        for form in ("raw", "json"):
            found[f"{form} over the best peer at {count}"] = round(found[f"{form} at {count}"]["per_s"] / best, 2)
    print({name: value for name, value in found.items() if "best peer" in name})
    return found


def _trained(client: httpx.Client, preset: str) -> str:
    job_id: str = finished_job(client, {"preset": preset, "epochs": 1})["id"]
    return job_id


# -- requests ---------------------------------------------------------------------------------------------


def _scripts(folder: Path, image: Any) -> dict[str, Path]:
    """Write what wrk is to post: one image in three forms."""
    bodies = {
        "raw": (image.tobytes(), "application/octet-stream"),
        "png": (encode_png(image), "image/png"),
        "json": (str(image.tolist()).replace(" ", "").encode(), "application/json"),
        "pixels": (json.dumps({"pixels": image.ravel().tolist()}).encode(), "application/json"),
        "oip": (json.dumps({"inputs": [_oip_input(image)]}).encode(), "application/json"),
    }
    scripts = {}
    for name, (body, media_type) in bodies.items():
        (folder / f"{name}.body").write_bytes(body)
        scripts[name] = folder / f"{name}.lua"
        scripts[name].write_text(
            f'wrk.method = "POST"\nwrk.body = io.open("{folder}/{name}.body", "rb"):read("*a")\n'
            f'wrk.headers["Content-Type"] = "{media_type}"\n'
        )
    return scripts


def _oip_input(image: Any) -> dict[str, Any]:
    return {"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": image.ravel().tolist()}


def _wrk(server: Server, url: str, script: Path, connections: int, seconds: int) -> Load:
    before = _cpu_s(server)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used_s = _cpu_s(server) - before
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


def _cpu_s(server: Server) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in server.processes)


def _compared(
    rows: dict[str, tuple[Server, str, str]],
    scripts: dict[str, Path],
    options: argparse.Namespace,
    connections: tuple[int, ...] = CONNECTIONS,
) -> dict[str, Any]:
    """Let all take turns, round after round; return medians and their ratios to bare uvicorn."""
    loads: dict[tuple[str, int], list[Load]] = {}
    for server, form, url in rows.values():
        _wrk(server, url, scripts[form], 4, 1)
    for _ in range(options.rounds):
        for count in connections:
            for name, (server, form, url) in rows.items():
                loads.setdefault((name, count), []).append(_wrk(server, url, scripts[form], count, options.seconds))
    found: dict[str, Any] = {}
    table = []
    for (name, count), runs in loads.items():
        middle = Load(*(statistics.median(values) for values in zip(*runs, strict=True)))
        ratio = statistics.median(
            run.per_s / bare.per_s for run, bare in zip(runs, loads["bare uvicorn", count], strict=True)
        )
        found[f"{name} at {count}"] = {
            "ratio": round(ratio, 3),
            "per_s": round(middle.per_s),
            "p50_ms": round(middle.p50_ms, 2),
            "p99_ms": round(middle.p99_ms, 2),
            "cpu_us": round(middle.cpu_us),
            "errors": max(run.errors for run in runs),
        }
        table.append(
            [
                name,
                str(count),
                f"{ratio:.2f}",
                f"{middle.per_s:.0f}",
                f"{middle.p50_ms:.2f}",
                f"{middle.p99_ms:.2f}",
                f"{middle.cpu_us:.0f}",
            ]
        )
    print_table(
        ["server", "connections", "ratio to bare", "requests/s", "p50, ms", "p99, ms", "CPU, us a request"], table
    )
    return found


# -- batches, memory, start, beside training --------------------------------------------------------------


def _batches(fanin: Server, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Post 1,000 images at a time, four requests in flight; beside them onnxruntime in this process."""
    import onnxruntime

    images = read_mnist(data_folder()).test.images[:BATCH]
    content, inputs = images.tobytes(), images.reshape(-1, 784).astype(np.float32) / np.float32(255)
    onnx = httpx.get(f"{fanin.url.removesuffix('/predict')}/models/{model}/weights?format=onnx").content
    headers = {"Accept": "application/octet-stream"}
    found: dict[str, Any] = {}
    sessions = {}
    for threads in (1, 2):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        sessions[threads] = onnxruntime.InferenceSession(onnx, settings, providers=["CPUExecutionProvider"])

    def post(client: httpx.Client) -> int:
        count, until = 0, time.monotonic() + options.seconds
        while time.monotonic() < until:
            client.post(f"{fanin.url}?model={model}", content=content, headers=headers).raise_for_status()
            count += BATCH
        return count

    rates: dict[str, list[float]] = {"fanin": [], "1": [], "2": []}
    for _ in range(options.rounds):
        with ThreadPoolExecutor(IN_FLIGHT) as pool, httpx.Client() as client:
            started = time.monotonic()
            counts = list(pool.map(lambda _: post(client), range(IN_FLIGHT)))
            rates["fanin"].append(sum(counts) / (time.monotonic() - started))
        for threads, session in sessions.items():
            count, started = 0, time.monotonic()
            while time.monotonic() < started + options.seconds:
                session.run(None, {"images": inputs})
                count += BATCH
            rates[str(threads)].append(count / (time.monotonic() - started))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    found = {
        "fanin_images_per_s": round(middle["fanin"]),
        "over_onnxruntime_one_thread": round(middle["fanin"] / middle["1"], 3),
        "over_onnxruntime_two_threads": round(middle["fanin"] / middle["2"], 3),
    }
    print(f"\nbatches of {BATCH}: {found}")
    return found


def _forward_passes(fanin: Server, models: dict[str, str], folder: Path) -> dict[str, Any]:
    """Compare the compiled forward pass with NumPy's, without a server around it."""
    found: dict[str, Any] = {}
    for name, model in models.items():
        weights = folder / f"{name}.safetensors"
        weights.write_bytes(httpx.get(f"{fanin.url.removesuffix('/predict')}/models/{model}/weights").content)
        command = [sys.executable, "-m", "benchmarks.forward_pass", str(weights)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        found[name] = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    rows = [
        [name, count, *(f"{one[way]:.1f}" for way in ("numpy", "compiled")), f"{one['numpy'] / one['compiled']:.1f}"]
        for name, counts in found.items()
        for count, one in counts.items()
    ]
    print_table(["network", "images", "NumPy, us", "compiled, us", "times as quick"], rows)
    return found


def _memory(fanin: Server) -> dict[str, int]:
    found = {"rss_mib": round(sum(process.memory_info().rss for process in fanin.processes) / 2**20)}
    print(f"\nmemory of an API process: {found['rss_mib']} MiB")
    return found


def _start_s(home: Path, model: str) -> float:
    """Return the median seconds from the start of an API process to its first answer."""
    seconds = []
    for _ in range(3):
        port, environment = free_port(), environment_without_settings()
        environment |= {"FANIN_HOME": str(home), "FANIN_PORT": str(port)}
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "service", "api"], env=environment)
        try:
            url = f"http://127.0.0.1:{port}/predict?model={model}"
            while not _answers(url):
                time.sleep(0.01)
            seconds.append(time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()
    print(f"\nstart to first answer: {statistics.median(seconds):.2f} s")
    return round(statistics.median(seconds), 2)


def _beside_training(home: Path, model: str, scripts: dict[str, Path], seconds: int) -> dict[str, Any]:
    """Post from 64 connections while two jobs train on the same cores."""
    with _fanin(home, FANIN_SLOTS="2") as (client, service):
        jobs = [client.post("/jobs", json={"preset": "mnist_nn_xavier", "epochs": 1000}).json()["id"] for _ in range(2)]
        wait_until(lambda: all(client.get(f"/jobs/{job}").json()["epoch"] >= 1 for job in jobs), 120, "both to train")
        url = f"{service.base_url}/predict?model={model}"
        assert service.process is not None
        found = _wrk(Server(url, [psutil.Process(service.process.pid)]), url, scripts["raw"], 64, seconds)
        for job in jobs:
            client.post(f"/jobs/{job}/cancel")
        result = {
            "seconds": seconds,
            "per_s": round(found.per_s),
            "p99_ms": round(found.p99_ms, 1),
            "errors": found.errors,
        }
    print(f"\nbeside two trainings: {result}")
    return result


if __name__ == "__main__":
    main()
