"""Metrics for Prometheus: requests and predictions of the API, and the work of all workers."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import update

from service.settings import Settings
from service.store import tables, workers
from service.store.engine import writing
from service.store.job_transitions import delete_job
from service.store.jobs import JobRequest
from service.store.workers import NewBeat
from tests.service.conftest import SMALL, Api, Bench, die_at, problem

Sample = tuple[str, frozenset[tuple[str, str]]]


def measured(api: httpx.Client) -> Mapping[Sample, float]:
    """Return the samples of an answer by name and labels; it is read by Prometheus' own parser."""
    answer = api.get("/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Mapping[Sample, float], name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def increase(before: Mapping[Sample, float], after: Mapping[Sample, float], name: str, **labels: str) -> float:
    return value(after, name, **labels) - value(before, name, **labels)


def test_requests_are_counted_by_template_and_status(api: httpx.Client) -> None:
    before = measured(api)
    for path in ("/jobs/job_1", "/jobs/job_2", "/no/such/path", "/healthz"):
        api.get(path)
    api.request("BREW", "/healthz")
    api.head("/healthz")
    api.head("/jobs/job_3")
    after = measured(api)
    count = "fanin_http_request_seconds_count"
    assert increase(before, after, count, method="GET", route="/jobs/{job_id}", status="404") == 2
    assert increase(before, after, count, method="GET", route="/healthz", status="200") == 1
    assert increase(before, after, count, method="GET", route="other", status="404") == 1
    assert increase(before, after, count, method="HEAD", route="/healthz", status="200") == 1
    assert increase(before, after, count, method="HEAD", route="/jobs/{job_id}", status="404") == 1
    assert not any("job_1" in text for _, labels in after for _, text in labels), "no label without number"
    assert (
        sum(number for (name, labels), number in after.items() if name == count and ("method", "BREW") in labels) == 0
    )


def test_predictions_by_the_inference_protocol_are_counted_too(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    data = {"name": "images", "shape": [3, 784], "datatype": "UINT8", "data": [0] * 3 * 784}
    before = measured(api)
    api.post(f"/v2/models/{job_id}/infer", json={"inputs": [data]}).raise_for_status()
    assert increase(before, measured(api), "fanin_predictions_total", model=f"{job_id}@2") == 3


def test_a_prediction_is_counted_once_for_each_image(bench: Bench, api: httpx.Client) -> None:
    job_id = bench.trained()
    model = f"{job_id}@2"
    api.post(f"/models/{job_id}/predict", content=bytes(784))
    before = measured(api)
    api.post(f"/models/{job_id}/predict", content=bytes(784))
    api.post(f"/predict?model={job_id}&shape=40,28,28", content=bytes(40 * 784))
    after = measured(api)
    assert increase(before, after, "fanin_predictions_total", model=model) == 41
    assert increase(before, after, "fanin_prediction_batch_images_count") == 2
    assert increase(before, after, "fanin_prediction_batch_images_sum") == 41
    for route in ("/models/{model_id}/predict", "/predict"):
        assert (
            increase(before, after, "fanin_http_request_seconds_count", method="POST", route=route, status="200") == 1
        )
    assert increase({}, after, "fanin_artifact_read_seconds_count") >= 1
    assert increase(before, after, "fanin_database_seconds_count") >= 1


def test_the_work_of_all_workers_is_summed_and_deletions_do_not_lower_it(bench: Bench, api: httpx.Client) -> None:
    assert value(measured(api), "fanin_epochs_total") == 0
    job_id = bench.trained()
    waiting, _ = bench.submit()
    done = measured(api)
    assert value(done, "fanin_epochs_total") == 2
    assert value(done, "fanin_trained_images_total") == pytest.approx(2 * 400, abs=100)
    assert value(done, "fanin_epoch_seconds_total") > 0
    assert value(done, "fanin_commits_total") >= 2
    assert value(done, "fanin_commit_seconds_total") > 0
    assert tuple(value(done, "fanin_jobs", state=state, device="any") for state in ("succeeded", "queued")) == (1, 1)
    assert value(done, "fanin_jobs", state="failed", device="any") == 0
    assert value(done, "fanin_oldest_queued_seconds") > 0
    assert sum(number for (name, _), number in done.items() if name == "fanin_workers") == 1
    for one in (job_id, waiting):
        delete_job(bench.engine, one)
    after = measured(api)
    assert value(after, "fanin_epochs_total") == 2
    assert value(after, "fanin_oldest_queued_seconds") == 0


def test_the_depth_of_the_queue_is_told_by_device(bench: Bench, api: httpx.Client) -> None:
    for device in ("gpu", "gpu", "any"):
        bench.queue.submit(JobRequest(SMALL, device=device))
    found = measured(api)
    assert [value(found, "fanin_jobs", state="queued", device=device) for device in ("gpu", "cpu", "any")] == [2, 0, 1]


def test_the_memory_that_live_workers_hold_of_their_gpus_is_told(bench: Bench, api: httpx.Client) -> None:
    bench.beat()
    for name, age_s in (("gpu-1:cuda-0", 0.0), ("gone:cuda-0", 3600.0)):
        held = NewBeat(name, 1, "cuda", "H100", 1, None, gpu_memory_bytes=5 * 2**30)
        workers.beat(bench.engine, held)
        with writing(bench.engine) as connection:
            of_name = update(tables.workers).where(tables.workers.c.name == name)
            connection.execute(of_name.values(beat_at=tables.workers.c.beat_at - age_s))
    found = {labels: number for (name, labels), number in measured(api).items() if name == "fanin_gpu_memory_bytes"}
    assert found == {frozenset({("worker", "gpu-1:cuda-0")}): 5 * 2**30}


def test_recoveries_are_counted(bench: Bench, api: httpx.Client) -> None:
    _, run_id = bench.submit()
    die_at(bench, run_id, "commit", 2)
    assert value(measured(api), "fanin_recoveries_total") == 0
    bench.attempt(run_id)
    assert value(measured(api), "fanin_recoveries_total") == 1
    bench.attempt(run_id)
    assert value(measured(api), "fanin_recoveries_total") == 1, "a run delivered after its end has nothing to recover"


def test_metrics_are_for_those_with_the_key(settings: Settings) -> None:
    key = "a key of the operators"
    with Api(settings.model_copy(update={"api_key": SecretStr(key)})) as api:
        problem(api.get("/metrics"), 401, "not-authenticated")
        assert api.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
