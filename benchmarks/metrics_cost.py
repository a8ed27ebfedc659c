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
from benchmarks.predict_servers import Server, answers, wrk
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
            rates: dict[str, list[float]] = {name: [] for name in urls}
            for number in range(options.rounds):
                for name in sorted(urls, reverse=bool(number % 2)):
                    server = Server(urls[name], [psutil.Process(processes[name])])
                    load = wrk(server, urls[name], script, CONNECTIONS, options.seconds)
                    assert load.errors == 0, load
                    rates[name].append(load.per_s)
        finally:
            if other is not None:
                other.terminate()
                other.wait(20)
            cluster.close()
    report(rates)


def report(rates: dict[str, list[float]]) -> None:
    """Print and write the medians and the ratio."""
    ratio = statistics.median(a / b for a, b in zip(rates["with"], rates["without"], strict=True))
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    print_table(["metrics", "predictions a second, median"], [[name, str(value)] for name, value in medians.items()])
    print(f"with over without, median of pairs: {ratio:.3f}")
    write_json("metrics_cost", "make bench-metrics", {"ratio": round(ratio, 3), "median": medians, "per_s": rates})


if __name__ == "__main__":
    main()
