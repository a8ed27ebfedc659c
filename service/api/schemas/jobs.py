"""Response models of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from models.diagnostics.outcome import Outcome
from models.results import EpochMetrics, PretrainMetrics
from models.spec import TrainSpec
from service.http.answers import Answer, timestamp, timestamp_or_none
from service.store.checkpoints import Phase
from service.store.jobs import PRIORITIES, DeviceChoice, JobRow, JobState, Priority
from service.store.queue_estimates import Place

PRIORITY_OF: dict[int, Priority] = {number: name for name, number in PRIORITIES.items()}


class Progress(Answer):
    """Progress of a running job."""

    phase: Phase | Literal["prepare"] = Field(
        "train",
        description="pretrain: the training of the scheme, before that of the job. prepare: the worker draws or loads "
        "the weights and compiles what the network needs on a GPU.",
    )
    layer: int | None = Field(None, description="In pre-training: the hidden layer in training, from 1; else null.")
    epoch: int = Field(description="The epoch in progress, from 1; in pre-training counted over all layers.")
    epochs: int
    step: int = Field(description="The step within the epoch, from 1; 0 in preparation.")
    steps_per_epoch: int
    percent: float = Field(description="Processed share of the training images of all epochs of the phase, 0 to 100.")
    running_loss: float | None = Field(
        description="Mean cross entropy of this epoch so far, in nats per image; null in the other phases."
    )
    images_per_s: float
    time_left_s: float | None = Field(
        description="Estimated time left at the current speed, in seconds; null in preparation."
    )


class DeviceView(Answer):
    """The device that trains or trained a job."""

    kind: str = Field(description="cpu or cuda.")
    name: str
    threads: int = Field(description="CPU threads.")
    worker: str | None = Field(description="The worker process, as node:slot.")
    engine: str = Field(description="Implementation of the training step that ran.")
    precision: str
    torch: str = Field(description="Version of torch.")


class DataSource(Answer):
    """The data set of a job."""

    name: str = Field(description="mnist or mnist_5k.")
    sha256: str = Field(description="SHA-256 over the checksums of its files.")


class JobLinks(Answer):
    """Paths of the resources and actions of a job."""

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
    """A training job."""

    id: str = Field(description="Id of the job, and of the model that it trains.")
    object: Literal["job"] = "job"
    state: JobState
    name: str | None = Field(description="A name that a client has set.")
    note: str | None = Field(description="A note that a client has set.")
    labels: dict[str, str] = Field(description="Labels that a client has set, by key.")
    version: int = Field(description="1 at first, and 1 more with each edit; the ETag of the job.")
    preset: str | None
    spec: TrainSpec = Field(description="The complete spec, with all defaults filled in.")
    priority: Priority = Field(
        description="Higher-priority jobs start first; jobs of equal priority start in submission order."
    )
    wanted_device: DeviceChoice = Field(description="The kind of device that the job asks for.")
    queue_position: int | None = Field(description="Place in the queue, 1 is next; null if the job is not queued.")
    estimated_start_at: datetime | None = Field(
        description="Estimated start of a queued job, from the workers' measured speed; null if unknown."
    )
    epoch: int = Field(description="Number of committed epochs.")
    loss: float | None = Field(
        description="Mean training loss of the last committed epoch, in nats an image; null before."
    )
    accuracy: float | None = Field(description="Accuracy on the test images; null until the job has succeeded.")
    progress: Progress | None = Field(description="Null until a worker prepares the training.")
    attempt: int = Field(description="Number of the current or last attempt; 0 before the first.")
    device: DeviceView | None
    data_source: DataSource | None
    reproducible: bool = Field(description="False if attempts ran on different devices or versions.")
    irreproducible_reason: str | None
    error: JobError | None
    experiment_id: str | None = Field(description="The experiment that the job belongs to, if any.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    links: JobLinks


class JobWithMetrics(Job):
    """A job with the metrics of its committed epochs."""

    metrics: list[EpochMetrics]
    pretraining: list[PretrainMetrics] = Field(description="Metrics of the committed pre-training epochs.")
    outcome: Outcome | None = Field(
        description="What came of the training, why, and what to do about it; null until it has ended, and for a job "
        "that was cancelled or failed for another reason than its loss."
    )


class Validation(Answer):
    """The resolved spec and the estimates of a submission that was only validated; nothing is queued."""

    object: Literal["validation"] = "validation"
    spec: TrainSpec = Field(description="The complete spec, with all defaults filled in.")
    parameter_count: int
    queue_position: int = Field(description="Place that the job would have in the queue; 1 is next.")
    estimated_start_at: datetime | None = Field(description="Estimated start; null if unknown.")
    estimated_duration_s: float | None = Field(description="From the speed of recent jobs; null before the first.")
    estimated_memory_bytes: int = Field(description="Memory of the training, with a third to spare.")
    estimated_checkpoint_bytes: int = Field(description="Size of the checkpoints of all epochs.")


class Deleted(Answer):
    """Confirmation that a job was deleted."""

    id: str
    object: Literal["job"] = "job"
    deleted: Literal[True] = True


def job_fields(row: JobRow, place: Place | None) -> dict[str, Any]:
    """Return the fields of `Job` for a row; `place` is its place in the queue, None if it is not queued."""
    base, pins = f"/jobs/{row.id}", row.pins
    return {
        "id": row.id,
        "state": row.state,
        "name": row.name,
        "note": row.note,
        "labels": dict(row.labels),
        "version": row.version,
        "preset": row.preset,
        "spec": row.spec,
        "priority": PRIORITY_OF[row.priority],
        "wanted_device": row.device,
        "queue_position": place.position if place else None,
        "estimated_start_at": timestamp_or_none(place.starts_at if place else None),
        "epoch": row.epoch,
        "loss": row.loss,
        "accuracy": row.accuracy,
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
    """Return the response model of a validated submission; `starts_at` is in seconds since 1970."""
    return Validation(
        spec=spec,
        parameter_count=spec.architecture.parameter_count,
        queue_position=queue_position,
        estimated_start_at=timestamp_or_none(starts_at),
        estimated_duration_s=duration_s,
        estimated_memory_bytes=spec.memory_bytes,
        estimated_checkpoint_bytes=spec.checkpoint_bytes,
    )
