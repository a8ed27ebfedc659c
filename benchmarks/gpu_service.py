"""The service end to end on a GPU: times from POST to the end; recovery, pause and cancel; a DBN.

Starts an API and a worker that has the GPU, with a fresh home. Each part prints its result and adds it to `--out`, so
that one that fails or runs out of time loses nothing else. Needs the service's packages, a GPU, `nvidia-smi` and MNIST.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks.clients import seconds_between
from benchmarks.machines import Cluster, wait_until

JOBS = 5
MEMBERS = 64
JOB_LIMIT_S = 120.0
LOOK_INTERVAL_S = 0.02
ENDED = ("succeeded", "failed", "cancelled")
SCHEMES = ("zeros", "constant", "normal", "xavier_uniform", "xavier_normal", "he_uniform", "he_normal", "torch_default")
DBN: dict[str, Any] = {
    "architecture": {"hidden": [500, 500, 2000], "activation": "sigmoid"},
    "init": {"scheme": "dbn", "rbm_epochs": 10},
    "epochs": 10,
}
LONG: dict[str, Any] = {"preset": "mnist_nn_xavier", "epochs": 120, "seed": 1}


class Service:
    """An API and one GPU worker, and what is asked of them."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        self.cluster = Cluster(folder, "sqlite", data_dir)
        self.client = self.cluster.client
        self.cluster.start_api()
        started = time.monotonic()
        self.worker = self.cluster.start_worker("gpu")
        self.worker_ready_s = time.monotonic() - started

    def submit(self, body: dict[str, Any]) -> str:
        """Submit a job and return its id."""
        return str(self.client.post("/jobs", json=body).raise_for_status().json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        job: dict[str, Any] = self.client.get(f"/jobs/{job_id}").raise_for_status().json()
        return job

    def ended(self, job_id: str, limit_s: float = JOB_LIMIT_S) -> dict[str, Any]:
        """Wait for a job's end and return it."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["state"] in ENDED else None

        job: dict[str, Any] = wait_until(look, limit_s, f"the end of {job_id}", LOOK_INTERVAL_S)
        return job

    def timed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Submit a job and wait for its end; return the seconds, its engine and its test accuracy."""
        started = time.perf_counter()
        answer = self.client.post("/jobs", json=body, headers={"Prefer": f"wait={JOB_LIMIT_S:.0f}"})
        seconds = time.perf_counter() - started
        job = self.job(answer.raise_for_status().json()["id"])
        if job["state"] != "succeeded":
            raise RuntimeError(f"{job['state']}: {job['error']}")
        epochs = self.client.get(f"/jobs/{job['id']}/metrics").raise_for_status().json()["data"]
        waited_s = seconds_between(job["created_at"], job["started_at"])
        return {
            "post_to_end_s": round(seconds, 3),
            "waited_s": round(waited_s, 3),
            "running_s": round(seconds_between(job["started_at"], job["ended_at"]), 3),
            "epochs_s": round(sum(epoch["duration_s"] for epoch in epochs), 3),
            "engine": job["device"]["engine"],
            "accuracy": self.client.get(f"/models/{job['id']}/evaluation").json()["test_accuracy"],
        }

    def weights(self, job_id: str) -> str:
        """Return the hash of a job's weights."""
        return str(self.client.get(f"/models/{job_id}").raise_for_status().json()["weights_sha256"])

    def predict_ms(self, model: str, until: Callable[[], bool]) -> list[float]:
        """Post one image after another until told to stop; return the milliseconds of each answer."""
        image, times = [[0] * 28] * 14 + [[255] * 28] * 14, []
        while not until():
            started = time.perf_counter()
            self.client.post("/predict", params={"model": model}, json={"image": image}).raise_for_status()
            times.append(1e3 * (time.perf_counter() - started))
        return times


def main() -> None:
    """Run all parts; write what they find to `--out`, and print it last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("gpu_service.json"))
    parser.add_argument("--log", type=Path, help="a file for what the worker writes")
    options = parser.parse_args()
    results: dict[str, Any] = {"gpu": _gpu_name()}
    with tempfile.TemporaryDirectory() as home:
        service = Service(Path(home), options.data_dir.absolute())
        try:
            results["worker_ready_s"] = round(service.worker_ready_s, 2)
            for name, part in PARTS.items():
                started = time.monotonic()
                try:
                    results[name] = part(service)
                except Exception as error:  # noqa: BLE001 - the other parts go on
                    results[name] = {"failed": f"{type(error).__name__}: {error}"[:600]}
                results[f"{name}, part_s"] = round(time.monotonic() - started, 1)
                print(name, json.dumps(results[name]), flush=True)
                options.out.write_text(json.dumps(results, indent=1) + "\n")
        finally:
            if options.log:
                options.log.write_text(service.worker.output())
            service.cluster.close()


# -- parts -----------------------------------------------------------------------------------------------


def _one_model(service: Service) -> dict[str, Any]:
    return _several(service, {"preset": "mnist_nn_xavier"})


def _deep_net(service: Service) -> dict[str, Any]:
    return _several(service, {"preset": "mnist_nn_deep"})


def _several(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    """Train `JOBS` jobs one after another; return the first one's times, and medians of the others."""
    rows = [service.timed(body | {"seed": seed}) for seed in range(JOBS)]
    numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
    return {
        "first": rows[0],
        "median": {name: round(statistics.median(row[name] for row in rows[1:]), 4) for name in numbers},
    }


def _lower_precision(service: Service) -> dict[str, Any]:
    return {name: service.timed({"preset": "mnist_nn_xavier", "precision": name}) for name in ("tf32", "bf16")}


def _experiment(service: Service) -> dict[str, Any]:
    """Train 64 members in one run, twice; meanwhile predictions are requested one after another the second time."""
    model = service.submit({"preset": "mnist_nn_xavier", "epochs": 1, "seed": 5})
    service.ended(model)
    seconds: list[float] = []
    predict_ms: list[float] = []
    states: dict[str, int] = {}
    for beside in (False, True):
        body = {
            "base": {"preset": "mnist_nn_xavier"},
            "schemes": list(SCHEMES),
            "seeds": [number + 10 * beside for number in range(MEMBERS // len(SCHEMES))],
        }
        with _predictions(service, model, predict_ms) if beside else nullcontext():
            started = time.perf_counter()
            experiment_id = service.client.post("/experiments", json=body).raise_for_status().json()["id"]
            _wait_for_experiment(service, experiment_id)
            seconds.append(round(time.perf_counter() - started, 3))
        states = service.client.get(f"/experiments/{experiment_id}").json()["states"]
    predict_ms.sort()
    medians = {"median": round(statistics.median(predict_ms), 2), "p99": round(predict_ms[-len(predict_ms) // 100], 2)}
    return {"post_to_end_s": seconds, "states": states, "predict_ms": {"n": len(predict_ms)} | medians}


@contextmanager
def _predictions(service: Service, model: str, times_ms: list[float]) -> Iterator[None]:
    """Predict one image after another while the block runs; add the milliseconds of each answer to `times_ms`."""
    done = threading.Event()
    thread = threading.Thread(target=lambda: times_ms.extend(service.predict_ms(model, done.is_set)))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _wait_for_experiment(service: Service, experiment_id: str) -> None:
    wait_until(lambda: _has_ended(service, experiment_id), JOB_LIMIT_S, "the experiment's end", LOOK_INTERVAL_S)


def _has_ended(service: Service, experiment_id: str) -> bool:
    return bool(service.client.get(f"/experiments/{experiment_id}").raise_for_status().json()["has_ended"])


def _recovery(service: Service) -> dict[str, Any]:
    """Kill the worker in the middle of a training; the job ends with the bits of one that nothing interrupted."""
    whole = service.submit(LONG)
    service.ended(whole)
    killed = service.submit(LONG)
    wait_until(lambda: service.job(killed)["epoch"] >= 20, JOB_LIMIT_S, "epoch 20", LOOK_INTERVAL_S)
    (process_id,) = service.worker.workers()
    at = service.job(killed)["epoch"]
    os.kill(process_id, signal.SIGKILL)
    started = time.perf_counter()
    job = service.ended(killed)
    return {
        "killed_at_epoch": at,
        "kill_to_end_s": round(time.perf_counter() - started, 2),
        "state": job["state"],
        "attempts": job["attempt"],
        "same_weights": service.weights(killed) == service.weights(whole),
    }


def _pause(service: Service) -> dict[str, Any]:
    whole = service.submit(LONG | {"seed": 2})
    service.ended(whole)
    paused = service.submit(LONG | {"seed": 2})
    wait_until(lambda: service.job(paused)["epoch"] >= 10, JOB_LIMIT_S, "epoch 10", LOOK_INTERVAL_S)
    started = time.perf_counter()
    service.client.post(f"/jobs/{paused}/pause").raise_for_status()
    wait_until(lambda: service.job(paused)["state"] == "paused", JOB_LIMIT_S, "the pause", LOOK_INTERVAL_S)
    pause_s = round(time.perf_counter() - started, 3)
    at = service.job(paused)["epoch"]
    service.client.post(f"/jobs/{paused}/resume").raise_for_status()
    state = service.ended(paused)["state"]
    same = service.weights(paused) == service.weights(whole)
    return {"paused_at_epoch": at, "pause_s": pause_s, "state": state, "same_weights": same}


def _cancel(service: Service) -> dict[str, Any]:
    """Cancel an experiment of 64 while it trains; its memory on the card is given back."""
    service.timed({"preset": "mnist_nn_xavier", "epochs": 1})
    before = _gpu_mib()
    body = {
        "base": {"preset": "mnist_nn_xavier", "epochs": 2000},
        "schemes": ["he_normal"],
        "seeds": list(range(100, 100 + MEMBERS)),
    }
    experiment = service.client.post("/experiments", json=body).raise_for_status().json()
    path = f"/experiments/{experiment['id']}"
    wait_until(lambda: service.client.get(path).json()["states"].get("running"), JOB_LIMIT_S, "the run", 0.1)
    time.sleep(3)
    during = _gpu_mib()
    started = time.perf_counter()
    service.client.post(f"{path}/cancel").raise_for_status()
    _wait_for_experiment(service, experiment["id"])
    seconds = time.perf_counter() - started
    service.timed({"preset": "mnist_nn_xavier", "epochs": 1})
    return {"cancel_s": round(seconds, 3), "mib_before": before, "mib_during": during, "mib_after": _gpu_mib()}


def _dbn(service: Service) -> dict[str, Any]:
    return service.timed(DBN)


def _gpu_name() -> str:
    return _smi("name").strip()


def _gpu_mib() -> int:
    return int(_smi("memory.used").split()[0])


def _smi(what: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


PARTS: dict[str, Callable[[Service], dict[str, Any]]] = {
    "one model": _one_model,
    "deep net": _deep_net,
    "lower precision": _lower_precision,
    f"experiment of {MEMBERS}": _experiment,
    "recovery": _recovery,
    "pause": _pause,
    "cancel": _cancel,
    "dbn": _dbn,
}


if __name__ == "__main__":
    main()
