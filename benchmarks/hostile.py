"""Send the largest and the most wrong bodies that each operation takes; measure what they cost the others.

For each body: how long `GET /healthz` waited at most meanwhile, and how much memory the API process needed at its peak.
Then 500 connections that send nothing or too slowly stand beside a client that predicts.
"""

from __future__ import annotations

import argparse
import io
import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.fuzz import BODY
from benchmarks.machines import Cluster
from benchmarks.report import print_table, write_json

MIB = 2**20
SETTLE_S = 1.0
SLOW_CONNECTIONS = 500
PREDICTIONS = 1500
JSON = "application/json"
PNG = {"Content-Type": "image/png"}


def bodies() -> Iterator[tuple[str, str, str, bytes]]:
    """Yield the name of each body, the path to post it to, its type and itself."""

    def filled(start: str, unit: str, end: str, size: int) -> bytes:
        return (start + ",".join([unit] * ((size - len(start) - len(end)) // (len(unit) + 1))) + end).encode()

    for name, size in (("at the limit", 256 * 1024), ("of 1 MB", 10**6)):
        yield f"experiment, schemes {name}", "/experiments", JSON, filled('{"schemes":[', "1", "]}", size)
        yield f"experiment, seeds {name}", "/experiments", JSON, filled('{"seeds":[', '"x"', "]}", size)
    yield "job, hidden at the limit", "/jobs", JSON, filled('{"architecture":{"hidden":[', "0", "]}}", 64 * 1024)
    for name, unit in (("lists", "[]"), ("objects", "{}"), ("numbers", "1"), ("fractions", ".5"), ("texts", '"ab"')):
        unit = unit.replace(".5", "0.5")
        yield f"predict, 4 MiB of {name}", "/predict", JSON, filled("[", unit, "]", 4 * MIB)
    row = "[" + ",".join(["7"] * 28) + "]"
    image = "[" + ",".join([row] * 28) + "]"
    yield "predict, 4 MiB of images", "/predict", JSON, filled("[", image, "]", 4 * MIB)
    yield "predict, 4 MiB of base64", "/predict", JSON, b'{"image":"' + b"A" * (4 * MIB - 12) + b'"}'
    tensor = '{"inputs":[{"name":"images","shape":[1,784],"datatype":"FP32","data":['
    yield "infer, 4 MiB of numbers", "/v2/models/latest/infer", JSON, filled(tensor, "0", "]}]}", 4 * MIB)
    yield "predict, 10,000 raw images", "/predict", "application/octet-stream", bytes(7_840_000)
    yield "predict, 16 MiB of raw bytes", "/predict", "application/octet-stream", bytes(16 * MIB)
    for kind in ("u1", "f4", "f8"):
        count = min(10_000, (16 * MIB - 200) // (784 * np.dtype(kind).itemsize))
        array = np.full((count, 28, 28), 0.5 if kind != "u1" else 7, kind)
        yield f"predict, .npy of {kind}, {array.nbytes // MIB} MiB", "/predict", "application/x-npy", _npy(array)
    side = np.full((1, 4000, 4000), 7, np.uint8)
    side[0, 1000:3000, 1800:2200] = 255
    yield "predict, .npy of 4000x4000, fit", "/predict?fit=true", "application/x-npy", _npy(side)
    for mode in ("L", "RGB", "RGBA"):
        yield f"predict, {mode} PNG of 4096x4096, fit", "/predict?fit=true", "image/png", _png(mode)
    form = b'--x\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n' + bytes(784) + b"\r\n"
    yield "predict, form of 10,000 files", "/predict", "multipart/form-data; boundary=x", form * 10_000 + b"--x--\r\n"


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _png(mode: str) -> bytes:
    picture = Image.new("L", (4096, 4096), 255)
    picture.paste(0, (1500, 500, 2100, 3500))
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Run all parts, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the slow connections")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanin-hostile-") as text:
        cluster = Cluster(Path(text), "sqlite", FANIN_MAX_QUEUED="1000000")
        try:
            cluster.start_with_one_model(BODY)
            found = [_cost(cluster, *one) for one in bodies()]
            found.append(_many_pictures(cluster))
            slow = {} if options.quick else _beside_slow_connections(cluster)
        finally:
            cluster.close()
    print_table(
        ["body", "KiB", "status", "answered, s", "others waited, ms", "memory, MiB"],
        [[str(value) for value in one.values()] for one in found],
    )
    print(json.dumps(slow))
    write_json("hostile", "make hostile", {"bodies": found, "slow_connections": slow})


def _cost(cluster: Cluster, name: str, path: str, media_type: str, body: bytes) -> dict[str, Any]:
    def send() -> int:
        with httpx.Client(base_url=cluster.base_url, timeout=120) as client:
            return client.post(path, content=body, headers={"Content-Type": media_type}).status_code

    return _measured(cluster, name, len(body), send)


def _many_pictures(cluster: Cluster) -> dict[str, Any]:
    body = _png("RGB")

    def send() -> int:
        with ThreadPoolExecutor(40) as pool:
            answers = list(
                pool.map(
                    lambda _: (
                        httpx.post(
                            f"{cluster.base_url}/predict?fit=true",
                            content=body,
                            timeout=120,
                            headers={"Content-Type": "image/png"},
                        ).status_code
                    ),
                    range(40),
                )
            )
        return max(answers)

    return _measured(cluster, "40 of these PNGs at once", 40 * len(body), send)


def _measured(cluster: Cluster, name: str, size: int, send: Callable[[], int]) -> dict[str, Any]:
    process = cluster.machines["api"].process
    assert process is not None
    status_file = Path(f"/proc/{process.pid}/status")
    before = _kib(status_file, "VmRSS")
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak begins anew
    with _watched(cluster.base_url) as waits_s:
        started = time.monotonic()
        status = send()
        taken = time.monotonic() - started
        time.sleep(0.1)
    peak = _kib(status_file, "VmHWM")
    time.sleep(SETTLE_S)
    print(name, status, flush=True)
    return {
        "body": name,
        "kib": size // 1024,
        "status": status,
        "answered_s": round(taken, 3),
        "others_waited_ms": round(1000 * max(waits_s)),
        "memory_mib": max(0, (peak - before) // 1024),
    }


def _kib(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{name}:"))


@contextmanager
def _watched(base_url: str) -> Iterator[list[float]]:
    """Ask for /healthz again and again until the block ends; yield how long each answer took."""
    waits_s: list[float] = []
    over = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=base_url, timeout=120) as client:
            while not over.is_set():
                started = time.monotonic()
                client.get("/healthz")
                waits_s.append(time.monotonic() - started)
                time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.2)
    waits_s.clear()
    try:
        yield waits_s
    finally:
        over.set()
        thread.join()


def _beside_slow_connections(cluster: Cluster) -> dict[str, Any]:
    """Return the 99th percentile of predictions alone, and beside connections that stand still or trickle."""
    alone_ms = _p99_ms(cluster.base_url)
    stop = threading.Event()
    with ExitStack() as stack:
        sockets = []
        for number in range(SLOW_CONNECTIONS):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", cluster.port), timeout=10))
            head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            raw.sendall((b"", head, head + b"Content-Length: 784\r\n\r\n")[number % 3])
            sockets.append(raw)
        trickle = threading.Thread(target=_trickle, args=[sockets, stop])
        trickle.start()
        beside_ms = _p99_ms(cluster.base_url)
        stop.set()
        trickle.join()
    return {
        "connections": SLOW_CONNECTIONS,
        "p99_alone_ms": alone_ms,
        "p99_beside_ms": beside_ms,
        "ratio": round(beside_ms / alone_ms, 2),
    }


def _trickle(sockets: list[socket.socket], stop: threading.Event) -> None:
    while not stop.wait(1.0):
        for raw in sockets[1::3] + sockets[2::3]:
            with suppress(OSError):
                raw.sendall(b"X")


def _p99_ms(base_url: str) -> float:
    digit, times_s = bytes(784), []
    with httpx.Client(base_url=base_url, timeout=60) as client:
        for _ in range(PREDICTIONS):
            started = time.monotonic()
            client.post("/predict", content=digit, headers={"Content-Type": "application/octet-stream"})
            times_s.append(time.monotonic() - started)
    return round(1000 * statistics.quantiles(times_s, n=100)[98], 2)


if __name__ == "__main__":
    main()
