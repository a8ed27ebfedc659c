"""Send mutated requests to every operation with a body: none is an unexpected error, none is slow, no memory stays.

Starts an API with one model and without workers. The designed 503s (decoding, a full queue) are no errors.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machines import Cluster, memory_mib, wait_until
from benchmarks.mutations import Asked, mutated, seeds
from benchmarks.report import print_table, write_json

CLIENTS = 8
SLOW_S = 5.0
DESIGNED = 503
GROWTH_MIB = 50.0
BODY = {"architecture": {"hidden": [16]}, "epochs": 1, "data": "mnist_5k"}


def main() -> None:
    """Run the trial, print the table, write JSON; exit with status 1 after an unexpected error or a slow answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanin-fuzz-") as text:
        cluster = Cluster(Path(text), "sqlite", FANIN_MAX_QUEUED="1000000")
        try:
            model = cluster.start_with_one_model(BODY)
            result = _trial(cluster, model, options.requests, options.seed)
        finally:
            cluster.close()
    rows = [[key, str(value)] for key, value in result.items() if not isinstance(value, dict | list)]
    print_table(["", "value"], rows)
    print(json.dumps(result["statuses"]))
    write_json("fuzz", "make fuzz", result)
    if result["unexpected"] or result["slower_than_5_s"] or result["memory_growth_mib"] > GROWTH_MIB:
        raise SystemExit(1)


@dataclass
class Client:
    """One client of the trial, with what it has seen."""

    base_url: str
    made: Sequence[Asked]
    chance: random.Random
    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[dict[str, Any]] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def run(self, count: int) -> None:
        """Send mutated requests, one after another over one connection."""
        with httpx.Client(base_url=self.base_url, timeout=60) as client:
            for _ in range(count):
                self._send(client, mutated(self.chance.choice(self.made), self.chance))

    def _send(self, client: httpx.Client, asked: Asked) -> None:
        started = time.monotonic()
        try:
            answer = client.request(asked.method, asked.path, content=asked.body, headers=list(asked.headers.items()))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.bad.append({"error": repr(error), "path": asked.path[:100]})
            return
        self.times_s.append(time.monotonic() - started)
        self.statuses[answer.status_code] += 1
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR and answer.status_code != DESIGNED:
            self.bad.append({"status": answer.status_code, "path": asked.path[:100], "body": asked.body[:300].hex()})


def _trial(cluster: Cluster, model: str, count: int, seed: int) -> dict[str, Any]:
    process = cluster.machines["api"].process
    assert process is not None
    made = seeds(model)
    warm = Client(cluster.base_url, made, random.Random(0))  # noqa: S311 - no secret
    warm.run(count // 20)
    before = memory_mib(process.pid)
    clients = [
        Client(cluster.base_url, made, random.Random(seed * 1000 + number))  # noqa: S311 - no secret
        for number in range(CLIENTS)
    ]
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda client: client.run(count // CLIENTS), clients))
    statuses = sum((client.statuses for client in clients), Counter[int]())
    bad = [one for client in clients for one in client.bad]
    times_s = [taken for client in clients for taken in client.times_s]
    for one in bad[:10]:
        print(json.dumps(one))
    with suppress(TimeoutError):
        wait_until(lambda: memory_mib(process.pid) - before <= GROWTH_MIB, 20, "memory to be given back", 0.5)
    return {
        "requests": len(times_s),
        "unexpected": len(bad),
        "slowest_s": round(max(times_s), 3),
        "slower_than_5_s": sum(taken > SLOW_S for taken in times_s),
        "memory_growth_mib": round(memory_mib(process.pid) - before, 1),
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
    }


if __name__ == "__main__":
    main()
