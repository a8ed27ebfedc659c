"""Ten minutes of everything at once: predictions, submissions, event streams and training; nothing may fail or grow.

64 connections predict, 8 submit jobs and wait for some, 8 hold event streams, and 2 workers train. Memory and open
files of the API process are read every few seconds; after the first minute they must be level.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.fuzz import BODY
from benchmarks.machines import Cluster, memory_mib
from benchmarks.report import print_table, write_json

PREDICTING, SUBMITTING, LISTENING = 64, 8, 8
LOOK_INTERVAL_S = 5.0
WARM_S = 60.0
GROWTH_MIB = 30.0
GROWTH_FILES = 20
SUBMIT_PAUSE_S = 1.0
PREDICT_PAUSE_S = 0.05
TTL_S = 5
CACHE_BYTES = 16 * 2**20  # the default of 256 MiB would take an hour to fill with the models of these jobs


class Soak:
    """The clients of one soak, what they have done, and what has failed."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self.over = threading.Event()

    def repeat(self, name: str, act: Callable[[httpx.Client], None], pause_s: float) -> None:
        """Repeat an act over one connection until the soak is over."""
        with httpx.Client(base_url=self.base_url, timeout=60) as client:
            while not self.over.is_set():
                try:
                    act(client)
                    self.done[name] += 1
                except (httpx.HTTPError, AssertionError) as error:
                    self.errors.append(f"{name}: {error!r}"[:300])
                self.over.wait(pause_s)

    def predict(self, client: httpx.Client) -> None:
        """Predict one digit."""
        client.post("/predict", content=bytes(784)).raise_for_status()

    def submit(self, client: httpx.Client) -> None:
        """Submit a short job, and wait for it if it is not far back in the queue; a full queue is no error."""
        answer = client.post("/jobs", json=BODY, headers={"Prefer": "wait=5"})
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            assert answer.raise_for_status().json()["state"] != "failed"

    def listen(self, client: httpx.Client) -> None:
        """Read the stream of all events for ten seconds, and check that ids increase."""
        until, last = time.monotonic() + 10, 0
        with client.stream("GET", "/events", headers={"Accept": "text/event-stream"}) as stream:
            stream.raise_for_status()
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    assert int(line[4:]) > last, f"event {line} after {last}"
                    last = int(line[4:])
                if time.monotonic() > until or self.over.is_set():
                    return


def main() -> None:
    """Run the soak, print what happened, write JSON; exit with status 1 after an error or growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanin-soak-") as text:
        cluster = Cluster(
            Path(text),
            "sqlite",
            FANIN_SLOT_THREADS="1",
            FANIN_WORKER_TTL_S=str(TTL_S),
            FANIN_MAX_QUEUED="50",
            FANIN_RETAIN_JOBS="200",
            FANIN_PREDICTOR_CACHE_BYTES=str(CACHE_BYTES),
        )
        try:
            cluster.start_api()
            cluster.start_worker("trainer", slots=2)
            cluster.client.post("/jobs", json=BODY, headers={"Prefer": "wait=60"}).raise_for_status()
            result = _soaked(cluster, options.seconds)
        finally:
            cluster.close()
    print_table(["", "value"], [[key, str(value)] for key, value in result.items() if not isinstance(value, list)])
    print(json.dumps(result["errors"][:10]))
    write_json("soak", "make soak", result)
    if result["errors"] or result["memory_growth_mib"] > GROWTH_MIB or result["files_growth"] > GROWTH_FILES:
        raise SystemExit(1)


def _soaked(cluster: Cluster, seconds: float) -> dict[str, Any]:
    process = cluster.machines["api"].process
    assert process is not None
    soak = Soak(cluster.base_url)
    acts = [("predictions", soak.predict, PREDICT_PAUSE_S)] * PREDICTING
    acts += [("submissions", soak.submit, SUBMIT_PAUSE_S)] * SUBMITTING + [("streams", soak.listen, 0.0)] * LISTENING
    threads = [threading.Thread(target=soak.repeat, args=act) for act in acts]
    for thread in threads:
        thread.start()
    started, looks = time.monotonic(), []
    while time.monotonic() - started < seconds:
        time.sleep(LOOK_INTERVAL_S)
        looks.append((time.monotonic() - started, memory_mib(process.pid), _open_files(process.pid)))
        if len(looks) % 12 == 0:
            print(f"{looks[-1][0]:.0f} s: {looks[-1][1]:.0f} MiB, {looks[-1][2]} files, {dict(soak.done)}", flush=True)
    soak.over.set()
    for thread in threads:
        thread.join()
    warm = [look for look in looks if look[0] >= min(WARM_S, seconds / 2)]
    first, last = warm[: len(warm) // 4 or 1], warm[-(len(warm) // 4 or 1) :]
    return {
        "seconds": round(seconds),
        **{name: soak.done[name] for name in ("predictions", "submissions", "streams")},
        "errors": soak.errors,
        "memory_mib": [round(look[1], 1) for look in itertools.islice(looks, 0, None, 12)],
        "memory_growth_mib": round(_middle(last, 1) - _middle(first, 1), 1),
        "files_growth": round(_middle(last, 2) - _middle(first, 2)),
    }


def _middle(looks: list[tuple[float, float, int]], column: int) -> float:
    values = sorted(look[column] for look in looks)
    return float(values[len(values) // 2])


def _open_files(process_id: int) -> int:
    return sum(1 for _ in Path(f"/proc/{process_id}/fd").iterdir())


if __name__ == "__main__":
    main()
