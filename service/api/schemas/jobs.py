"""Jobs as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from models.results import EpochMetrics, PretrainMetrics
from models.spec import TrainSpec
from service.http.answers import Answer, timestamp, timestamp_or_none
from service.store.checkpoints import Phase
from service.store.jobs import PRIORITIES, JobRow, JobState, Priority
from service.store.queue_estimates import Place

PRIORITY_OF: dict[int, Priority] = {number: name for name, number in PRIORITIES.items()}


class Progress(Answer):
    """How far a running job is."""

    phase: Phase = Field("train", description="pretrain: the scheme's own training, before the job's.")
    layer: int | None = Field(None, description="Of pre-training: the hidden layer that learns, from 1.")
    epoch: int = Field(description="The epoch in progress, from 1; of pre-training, counted over all layers.")
    epochs: int
    step: int = Field(description="The step within the epoch, from 1.")
    steps_per_epoch: int
    percent: float = Field(description="Share of all training images of the phase seen, 0 to 100.")
    running_loss: float | None = Field(
        description="Mean cross entropy of this epoch so far, in nats an image; null in pre-training."
    )
    images_per_s: float
    time_left_s: float = Field(description="At the present speed, in seconds.")


class DeviceView(Answer):
    """Where a job is or was trained."""

    kind: str = Field(description="cpu or cuda.")
    name: str
    threads: int = Field(description="CPU threads.")
    worker: str | None = Field(description="The worker process, as node:slot.")
    engine: str = Field(description="Which implementation of the training step ran.")
    precision: str
    torch: str = Field(description="Version of torch.")


class DataSource(Answer):
    """Which digits a job is or was trained on."""

    name: str = Field(description="mnist, or mnist_5k.")
    sha256: str = Field(description="Over the checksums of its files.")


class JobLinks(Answer):
    """Where to go from a job."""

    self: str
    metrics: str
    events: str
    checkpoints: str
    diagnostics: str
    cancel: str
    pause: str
    resume: str
    retry: str
    model: str


class JobError(Answer):
    """Why a job failed."""

    type: str
    detail: str
    hint: str


class Job(Answer):
    """One spec on its way through the queue."""

    id: str = Field(description="Also the id of the model that the job makes.")
    object: Literal["job"] = "job"
    state: JobState
    preset: str | None
    spec: TrainSpec = Field(description="The whole spec, everything resolved.")
    priority: Priority = Field(description="What is high is taken first; equals in their order.")
    queue_position: int | None = Field(description="1 is next; null if the job is not queued.")
    estimated_start_at: datetime | None = Field(
        description="Of a queued job, from the measured speed of the workers; null if nobody can say yet."
    )
    epoch: int = Field(description="Epochs that are committed.")
    progress: Progress | None = Field(description="Null before the first step.")
    attempt: int = Field(description="How often a worker has taken the job up.")
    device: DeviceView | None
    data_source: DataSource | None
    reproducible: bool = Field(description="False if attempts ran on different devices or versions.")
    irreproducible_reason: str | None
    error: JobError | None
    experiment_id: str | None = Field(description="The experiment that the job is a member of.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    links: JobLinks


class JobWithMetrics(Job):
    """A job with the metrics of its committed epochs."""

    metrics: list[EpochMetrics]
    pretraining: list[PretrainMetrics] = Field(description="Of schemes that pre-train: the metrics of those epochs.")


class Validation(Answer):
    """What a submission would be: nothing is queued."""

    object: Literal["validation"] = "validation"
    spec: TrainSpec = Field(description="The whole spec, everything resolved.")
    parameter_count: int
    queue_position: int = Field(description="Where the job would be in the queue; 1 is next.")
    estimated_start_at: datetime | None = Field(description="Null if nobody can say yet.")
    estimated_duration_s: float | None = Field(description="From the last jobs' speed; null before the first.")


class Deleted(Answer):
    """What was deleted."""

    id: str
    object: Literal["job"] = "job"
    deleted: Literal[True] = True


def job_fields(row: JobRow, place: Place | None) -> dict[str, Any]:
    """Return the fields of `Job` for a row; `place` is its place in the queue, if it is queued."""
    base, pins = f"/jobs/{row.id}", row.pins
    return {
        "id": row.id,
        "state": row.state,
        "preset": row.preset,
        "spec": row.spec,
        "priority": PRIORITY_OF[row.priority],
        "queue_position": place.position if place else None,
        "estimated_start_at": timestamp_or_none(place.starts_at if place else None),
        "epoch": row.epoch,
        "progress": Progress.model_validate(row.progress) if row.progress else None,
        "attempt": row.attempt,
        "device": _device(pins, row.worker) if pins else None,
        "data_source": DataSource(name=pins["data"], sha256=pins["data_sha256"]) if pins else None,
        "reproducible": row.reproducible,
        "irreproducible_reason": row.irreproducible_reason,
        "error": JobError.model_validate(row.error) if row.error else None,
        "experiment_id": row.experiment_id,
        "created_at": timestamp(row.created_at),
        "started_at": timestamp_or_none(row.started_at),
        "ended_at": timestamp_or_none(row.ended_at),
        "links": JobLinks(
            self=base,
            metrics=f"{base}/metrics",
            events=f"{base}/events",
            checkpoints=f"{base}/checkpoints",
            diagnostics=f"{base}/diagnostics",
            cancel=f"{base}/cancel",
            pause=f"{base}/pause",
            resume=f"{base}/resume",
            retry=f"{base}/retry",
            model=f"/models/{row.id}",
        ),
    }


def _device(pins: dict[str, Any], worker: str | None) -> DeviceView:
    return DeviceView(
        kind=pins["device"],
        name=pins["device_name"],
        threads=pins["threads"],
        worker=worker,
        engine=pins["engine"],
        precision=pins["precision"],
        torch=pins["torch"],
    )


def validation_view(
    spec: TrainSpec, queue_position: int, starts_at: float | None, duration_s: float | None
) -> Validation:
    """Return what a submission would be, as it is shown."""
    return Validation(
        spec=spec,
        parameter_count=spec.architecture.parameter_count,
        queue_position=queue_position,
        estimated_start_at=timestamp_or_none(starts_at),
        estimated_duration_s=duration_s,
    )
