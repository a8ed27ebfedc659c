"""What metrics cost predictions: two API processes of one database, one of which counts nothing, measured in turns.

`wrk` posts one image by 16 connections. A pair of runs gives a ratio; the median of the ratios is the result.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machines import ROOT, Cluster, wait_until
from benchmarks.predict_servers import Load, Server, answers, wrk
from benchmarks.report import print_table, write_json
from service.commands.local_service import free_port

CONNECTIONS = 16
SCRIPT = r"""
wrk.method = "POST"
wrk.body = string.rep("\0", 784)
wrk.headers["Content-Type"] = "application/octet-stream"
"""
WITHOUT = """
from service.http import measures
measures._Values.note = lambda *_arguments: None
measures.Number.add = lambda *_arguments: None
from service.__main__ import main
main(["api"])
"""
SMALL: dict[str, Any] = {"preset": "mnist_nn_xavier", "data": "mnist_5k", "epochs": 1}


def main() -> None:
    """Measure in turns, print the table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("This needs wrk (Debian: apt-get install wrk).")
    with tempfile.TemporaryDirectory(prefix="fanin-metrics-") as text:
        script = Path(text) / "post.lua"
        script.write_text(SCRIPT)
        cluster = Cluster(Path(text), "sqlite")
        other: subprocess.Popen[bytes] | None = None
        try:
            cluster.start_with_one_model(SMALL)
            with_metrics = cluster.machines["api"].process
            assert with_metrics is not None
            port = free_port()
            environment = cluster.environment("without") | {"FANIN_PORT": str(port)}
            other = subprocess.Popen([sys.executable, "-c", WITHOUT], env=environment, cwd=ROOT)
            urls = {"with": f"{cluster.base_url}/predict", "without": f"http://127.0.0.1:{port}/predict"}
            processes = {"with": with_metrics.pid, "without": other.pid}
            for url in urls.values():
                wait_until(lambda url=url: answers(url), 60, url)  # type: ignore[misc]
            loads: dict[str, list[Load]] = {name: [] for name in urls}
            for number in range(options.rounds):
                for name in sorted(urls, reverse=bool(number % 2)):
                    server = Server(urls[name], [psutil.Process(processes[name])])
                    load = wrk(server, urls[name], script, CONNECTIONS, options.seconds)
                    assert load.errors == 0, load
                    loads[name].append(load)
        finally:
            if other is not None:
                other.terminate()
                other.wait(20)
            cluster.close()
    report(loads)


def report(loads: dict[str, list[Load]]) -> None:
    """Print and write the medians and the ratios: of predictions a second, and of processor time."""
    per_s = {name: [load.per_s for load in runs] for name, runs in loads.items()}
    cpu_us = {name: [load.cpu_us for load in runs] for name, runs in loads.items()}
    ratios = {
        "predictions": round(_ratio(per_s["with"], per_s["without"]), 3),
        "processor_time": round(_ratio(cpu_us["without"], cpu_us["with"]), 3),
    }
    medians = {
        name: {"per_s": round(statistics.median(per_s[name])), "cpu_us": round(statistics.median(cpu_us[name]), 1)}
        for name in loads
    }
    rows = [[name, str(found["per_s"]), str(found["cpu_us"])] for name, found in medians.items()]
    print_table(["metrics", "predictions a second", "us of processor time each"], rows)
    print(f"with over without, medians of pairs: {ratios}")
    results = {"ratios": ratios, "medians": medians, "per_s": per_s, "cpu_us": cpu_us}
    write_json("metrics_cost", "make bench-metrics", results)


def _ratio(some: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


if __name__ == "__main__":
    main()
