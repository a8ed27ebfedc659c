"""What a prediction costs compared with a bare HTTP server: requests per second, latency, processor time, memory.

`wrk` (Debian has it) measures the servers in turn, at 1, 16 and 64 connections: bare uvicorn with a fixed response, the
same in FastAPI, and Fanin with its default and its deep network. Then follow Fanin with two API processes, batches of
1,000 images compared with onnxruntime in this process, and predictions while two trainings use the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.clients import data_folder, finished_job
from benchmarks.predict_process import beside_training, memory, start_s
from benchmarks.predict_servers import Load, Server, bare_uvicorn, fanin_api, fanin_service, peer_server, wrk
from benchmarks.report import print_table, write_json
from models.data.mnist import read_mnist
from service.inference.pictures import encode_png

CONNECTIONS = (1, 16, 64)
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
        bare, echo = (stack.enter_context(bare_uvicorn(f"benchmarks.bare_server:{name}")) for name in ("bare", "echo"))
        home = Path(folder) / "home"
        with fanin_service(home) as (service, _):
            small, deep = _trained(service, "mnist_nn_xavier"), _trained(service, "mnist_nn_deep")
        fanin = stack.enter_context(fanin_api(home))
        rows = {
            "bare uvicorn": (bare, "raw", bare.url),
            "FastAPI, a fixed answer": (echo, "raw", echo.url),
            "raw": (fanin, "raw", f"{fanin.url}?model={small}"),
            "png": (fanin, "png", f"{fanin.url}?model={small}"),
            "json": (fanin, "json", f"{fanin.url}?model={small}"),
            "deep": (fanin, "raw", f"{fanin.url}?model={deep}"),
        }
        comparison = _compared(rows, scripts, options)
        result: dict[str, Any] = {
            "requests": comparison,
            "memory": memory(fanin),
            "batches": _batches(fanin, small, options),
            "forward_us": _forward_passes(fanin, {"small": small, "deep": deep}, Path(folder)),
        }
        stack.close()
        with bare_uvicorn("benchmarks.bare_server:bare") as bare, fanin_api(home, processes=2) as two:
            rows = {"bare uvicorn": (bare, "raw", bare.url), "raw": (two, "raw", f"{two.url}?model={small}")}
            result["two_processes"] = _compared(rows, scripts, options, connections=(64,))
        if options.peers is not None:
            result["peers"] = _peers(home, small, scripts, options, Path(folder))
        result["start_s"] = start_s(home, small)
        result["beside_training"] = beside_training(home, small, scripts, options.training_seconds)
    write_json("predict", "make bench-predict", {"rounds": options.rounds, "seconds": options.seconds} | result)


def _peers(
    home: Path, model: str, scripts: dict[str, Path], options: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Measure peers and Fanin in turn, all with JSON; return rates, and Fanin's divided by the best peer's."""
    weights = folder / "weights.npz"
    with ExitStack() as stack:
        fanin = stack.enter_context(fanin_api(home))
        weights.write_bytes(
            httpx.get(f"{fanin.url.removesuffix('/predict')}/models/{model}/weights?format=npz").content
        )
        bare = stack.enter_context(bare_uvicorn("benchmarks.bare_server:bare"))
        rows = {"bare uvicorn": (bare, "raw", bare.url)}
        rows["raw"] = (fanin, "raw", f"{fanin.url}?model={model}")
        rows["json"] = (fanin, "json", f"{fanin.url}?model={model}")
        names = [name for name in PEER_NAMES if (options.peers / name).exists()]
        for name in names:
            server = stack.enter_context(peer_server(name, options.peers, weights, folder))
            rows[name] = (server, "oip" if name == "mlserver" else "pixels", server.url)
        rates = _compared(rows, scripts, options)
    for count in CONNECTIONS:
        best = max(rates[f"{name} at {count}"]["per_s"] for name in names)
        for form in ("raw", "json"):
            rates[f"{form} over the best peer at {count}"] = round(rates[f"{form} at {count}"]["per_s"] / best, 2)
    print({name: value for name, value in rates.items() if "best peer" in name})
    return rates


def _trained(client: httpx.Client, preset: str) -> str:
    job_id: str = finished_job(client, {"preset": preset, "epochs": 1})["id"]
    return job_id


# -- requests ---------------------------------------------------------------------------------------------


def _scripts(folder: Path, image: Any) -> dict[str, Path]:
    """Write the bodies and scripts with which wrk posts one image, and return the scripts by form."""
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


def _compared(
    rows: dict[str, tuple[Server, str, str]],
    scripts: dict[str, Path],
    options: argparse.Namespace,
    connections: tuple[int, ...] = CONNECTIONS,
) -> dict[str, Any]:
    """Measure all servers in turn, round after round; return medians and their ratios to bare uvicorn."""
    loads: dict[tuple[str, int], list[Load]] = {}
    for server, form, url in rows.values():
        wrk(server, url, scripts[form], 4, 1)
    for _ in range(options.rounds):
        for count in connections:
            for name, (server, form, url) in rows.items():
                loads.setdefault((name, count), []).append(wrk(server, url, scripts[form], count, options.seconds))
    summary: dict[str, Any] = {}
    table = []
    for (name, count), runs in loads.items():
        middle = Load(*(statistics.median(values) for values in zip(*runs, strict=True)))
        ratio = statistics.median(
            run.per_s / bare.per_s for run, bare in zip(runs, loads["bare uvicorn", count], strict=True)
        )
        summary[f"{name} at {count}"] = {
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
    return summary


# -- batches, memory, start, during training --------------------------------------------------------------


def _batches(fanin: Server, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Post 1,000 images per request, four requests in flight; compare with onnxruntime in this process."""
    import onnxruntime

    images = read_mnist(data_folder()).test.images[:BATCH]
    content, inputs = images.tobytes(), images.reshape(-1, 784).astype(np.float32) / np.float32(255)
    onnx = httpx.get(f"{fanin.url.removesuffix('/predict')}/models/{model}/weights?format=onnx").content
    headers = {"Accept": "application/octet-stream"}
    result: dict[str, Any] = {}
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
    result = {
        "fanin_images_per_s": round(middle["fanin"]),
        "over_onnxruntime_one_thread": round(middle["fanin"] / middle["1"], 3),
        "over_onnxruntime_two_threads": round(middle["fanin"] / middle["2"], 3),
    }
    print(f"\nbatches of {BATCH}: {result}")
    return result


def _forward_passes(fanin: Server, models: dict[str, str], folder: Path) -> dict[str, Any]:
    """Compare the compiled forward pass with NumPy's, without a server around it."""
    medians: dict[str, Any] = {}
    for name, model in models.items():
        weights = folder / f"{name}.safetensors"
        weights.write_bytes(httpx.get(f"{fanin.url.removesuffix('/predict')}/models/{model}/weights").content)
        command = [sys.executable, "-m", "benchmarks.forward_pass", str(weights)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        medians[name] = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    rows = [
        [name, count, *(f"{row[way]:.1f}" for way in ("numpy", "compiled")), f"{row['numpy'] / row['compiled']:.1f}"]
        for name, counts in medians.items()
        for count, row in counts.items()
    ]
    print_table(["network", "images", "NumPy, us", "compiled, us", "times as quick"], rows)
    return medians


if __name__ == "__main__":
    main()
