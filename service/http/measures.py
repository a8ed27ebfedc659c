"""What an API process measures of its requests and predictions, for Prometheus.

A measure of a request takes a microsecond: a value is put on a list, and lists are sorted into buckets 512 at a time.
The counters of prometheus-client took 7 % of the predictions a second. Several API processes on a port write their sums
to files of a folder once a second, and each answers with the sums of all.
"""

from __future__ import annotations

import bisect
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from starlette.types import Scope

OTHER = "other"
PREDICT = re.compile(r"/models/[^/]+/predict")
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MAX_SERIES = 1000
"""Labels of a measure; more are counted under `other`."""
AT_ONCE = 512
SHARING_INTERVAL_S = 1.0

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 250.0, 1000.0, 10_000.0)
State = dict[str, dict[str, list[float]]]
"""The sums of a process: by measure and by its labels (JSON): a value, or a sum and counts by bucket."""


class _Values:
    """The values of one series: their sum and how many fall into each bucket; the last bucket has no end."""

    def __init__(self, buckets: Sequence[float]) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        self._new: list[float] = []
        self._lock = threading.Lock()

    def note(self, value: float) -> None:
        """Note a value, from any thread."""
        self._new.append(value)
        if len(self._new) >= AT_ONCE:
            self.state()

    def state(self) -> list[float]:
        """Return the sum and the counts."""
        with self._lock:
            new = self._new[: len(self._new)]  # other threads may append meanwhile, behind these
            del self._new[: len(new)]
            self._sum += sum(new)
            new.sort()  # a search for each bucket instead of one for each value
            below = 0
            for bucket, end in enumerate(self._buckets):
                upto = bisect.bisect_right(new, end, below)
                self._counts[bucket] += upto - below
                below = upto
            self._counts[-1] += len(new) - below
            return [self._sum, *self._counts]


class Histogram:
    """Values in buckets, by labels."""

    def __init__(self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.buckets, self.labels = name, text, buckets, labels
        self._series: dict[tuple[str, ...], _Values] = {}

    def of(self, *labels: str) -> _Values:
        """Return the series of some labels."""
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            series = self._series.setdefault(labels, _Values(self.buckets))
        return series

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note the seconds of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.of().note(time.perf_counter() - started)

    def state(self) -> dict[str, list[float]]:
        """Return the sums of this process."""
        return {json.dumps(labels): series.state() for labels, series in list(self._series.items())}

    def family(self, state: Mapping[str, Sequence[float]]) -> Metric:
        """Return sums in the form of Prometheus."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        ends = [*(f"{end:g}" for end in self.buckets), "+Inf"]
        for labels, (total, *counts) in state.items():
            below = [sum(counts[: place + 1]) for place in range(len(counts))]
            family.add_metric(json.loads(labels), list(zip(ends, below, strict=True)), total)
        return family


class Number:
    """A count that grows, or a number that is now; by at most one label. For the thread of the event loop alone."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, is_gauge: bool = False) -> None:
        self.name, self.text, self.labels, self.is_gauge = name, text, labels, is_gauge
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def add(self, value: float, *labels: str) -> None:
        """Add to the number of some labels."""
        before = self._values.get(labels)
        if before is None:
            labels, before = (labels, 0.0) if len(self._values) < MAX_SERIES else ((OTHER,) * len(labels), None)
        self._values[labels] = (self._values.get(labels, 0.0) if before is None else before) + value

    def state(self) -> dict[str, list[float]]:
        """Return the numbers of this process."""
        return {json.dumps(labels): [value] for labels, value in list(self._values.items())}

    def family(self, state: Mapping[str, Sequence[float]]) -> Metric:
        """Return numbers in the form of Prometheus."""
        kind = GaugeMetricFamily if self.is_gauge else CounterMetricFamily
        family = kind(self.name, self.text, labels=self.labels)
        for labels, (value,) in state.items():
            family.add_metric(json.loads(labels), value)
        return family


REQUESTS = Histogram(
    "fanin_http_request_seconds",
    "Seconds from a request to the beginning of its response, by method, route and status.",
    SECONDS,
    ("method", "route", "status"),
)
PREDICTIONS = Number("fanin_predictions", "Predicted images, by model (JOB@EPOCH).", ("model",))
BATCHES = Histogram("fanin_prediction_batch_images", "Images of a forward pass.", IMAGES)
STREAMS = Number("fanin_event_streams", "Open event streams.", is_gauge=True)
DATABASE = Histogram("fanin_database_seconds", "Seconds of a statement to the database.", SECONDS)
FILES = Histogram("fanin_artifact_read_seconds", "Seconds to read and check the weights of a model.", SECONDS)
ALL = (REQUESTS, PREDICTIONS, BATCHES, STREAMS, DATABASE, FILES)
_batches = BATCHES.of()
_predicted = REQUESTS.of("POST", "/predict", "200")
_of_request: dict[tuple[str, str, int], _Values] = {}


def note_request(scope: Scope, status: int, seconds: float) -> None:
    """Note the response to a request, and after how many seconds it began."""
    if status == 200 and scope["path"] == "/predict":  # the most frequent request
        _predicted.note(seconds)
        return
    key = scope["method"], route_of(scope), status
    series = _of_request.get(key)
    if series is None:
        method = key[0] if key[0] in KNOWN_METHODS else OTHER
        series = REQUESTS.of(method, key[1], str(status))
        if method != OTHER:
            _of_request[key] = series
    series.note(seconds)


def route_of(scope: Scope) -> str:
    """Return the template of a request's path, such as `/jobs/{job_id}`: paths themselves would be without number."""
    path: str = scope["path"]
    if path == "/predict":
        return path
    route = getattr(scope.get("route"), "path", None)
    if route:
        return str(route)
    return "/models/{model_id}/predict" if PREDICT.fullmatch(path) else OTHER


def note_predictions(model: str, images: int) -> None:
    """Count a forward pass of a model."""
    PREDICTIONS.add(images, model)
    _batches.note(images)


class SharedMeasures:
    """The measures of the API processes of a port; `folder` None: this one is alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file = None if folder is None else folder / f"{os.getpid()}.json"

    def share(self) -> None:
        """Write the sums of this process, so that the others can add them."""
        if self._file is not None and self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(_state()))
            new.replace(self._file)

    def as_text(self) -> bytes:
        """Return the sums of all processes in the text format of Prometheus."""
        registry = CollectorRegistry()
        registry.register(_Collected(self._added()))
        return generate_latest(registry)

    def _added(self) -> State:
        total = _state()
        files = [] if self._folder is None else sorted(self._folder.glob("*.json"))
        for file in files:
            if file == self._file:
                continue
            with suppress(OSError, ValueError):
                _add(total, json.loads(file.read_text()), is_alive=Path("/proc", file.stem).exists())
        return total


class _Collected:
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        for measure in ALL:
            yield measure.family(self._state[measure.name])


def _state() -> State:
    return {measure.name: measure.state() for measure in ALL}


def _add(total: State, other: Mapping[str, Any], *, is_alive: bool) -> None:
    """Add the sums of another process; what a process that has ended had open is open no more."""
    for measure in ALL:
        if isinstance(measure, Number) and measure.is_gauge and not is_alive:
            continue
        own = total[measure.name]
        for labels, values in other.get(measure.name, {}).items():
            before = own.get(labels, [0.0] * len(values))
            own[labels] = [one + another for one, another in zip(before, values, strict=True)]
