"""What the database says of the whole service, as measures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Engine

from service.store.jobs import DeviceChoice, JobState
from service.store.work_counts import gpu_memory, jobs_by_state, live_workers, oldest_queued_s, work_done

COUNTERS = {
    "fanin_epochs": ("epochs", 1.0, "Epochs that workers have committed."),
    "fanin_epoch_seconds": ("epoch_us", 1e-6, "Seconds that those epochs took."),
    "fanin_trained_images": ("images", 1.0, "Images that those epochs trained on; its rate is images a second."),
    "fanin_commits": ("commits", 1.0, "Commits of checkpoints."),
    "fanin_commit_seconds": ("commit_us", 1e-6, "Seconds of writing files and rows of those commits."),
    "fanin_recoveries": ("recoveries", 1.0, "Attempts that took up a run whose worker had died."),
    "fanin_fences": ("fences", 1.0, "Attempts that found a newer one, and committed nothing."),
}


class OfDatabase:
    """Collects the measures when they are asked for."""

    def __init__(self, engine: Engine, worker_ttl_s: float) -> None:
        self._engine = engine
        self._worker_ttl_s = worker_ttl_s

    def collect(self) -> Iterator[Metric]:
        """Yield the measures. Raises the errors of the database."""
        with self._engine.connect() as connection:
            states, done = jobs_by_state(connection), work_done(connection)
            oldest_s, live = oldest_queued_s(connection), live_workers(connection, self._worker_ttl_s)
            memory = gpu_memory(connection, self._worker_ttl_s)
        of_jobs = GaugeMetricFamily("fanin_jobs", "Jobs by state and wanted device.", labels=["state", "device"])
        for state, device in product(get_args(JobState), get_args(DeviceChoice)):
            of_jobs.add_metric([state, device], states.get((state, device), 0))
        yield of_jobs
        yield GaugeMetricFamily("fanin_oldest_queued_seconds", "Age of the oldest queued job; 0 without one.", oldest_s)
        of_workers = GaugeMetricFamily("fanin_workers", "Live workers by device and state.", labels=["device", "state"])
        for kind in ("cpu", "cuda"):
            for is_busy in (False, True):
                of_workers.add_metric([kind, "busy" if is_busy else "idle"], live.get((kind, is_busy), 0))
        yield of_workers
        of_gpus = GaugeMetricFamily(
            "fanin_gpu_memory_bytes", "Memory of its GPU that a worker holds.", labels=["worker"]
        )
        for name, held_bytes in memory.items():
            of_gpus.add_metric([name], held_bytes)
        yield of_gpus
        for name, (sum_name, unit, text) in COUNTERS.items():
            yield CounterMetricFamily(name, text, done.get(sum_name, 0) * unit)


def database_measures(engine: Engine, worker_ttl_s: float) -> bytes:
    """Return what the database says in the text format of Prometheus. Raises the errors of the database."""
    registry = CollectorRegistry()
    registry.register(OfDatabase(engine, worker_ttl_s))
    return generate_latest(registry)
