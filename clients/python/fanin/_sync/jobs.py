"""Jobs: create, list, watch, steer and delete them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from fanin._sync import logs, streams
from fanin._sync.models import Model
from fanin._sync.pages import Items, Place
from fanin._sync.transport import Transport, answer_in
from fanin._sync.waits import until_ended
from fanin.answers import Checkpoint, DeletedJobs, Diagnostics, EpochMetrics, Event, JobWithMetrics, Validation
from fanin.bodies import UNSET, Device, Json, Priority, Sort, State, Unset, changes, condition, given, named
from fanin.html import job_html
from fanin.layers import LayerRecords
from fanin.waiting import Waiting

ENDED = ("cancelled", "succeeded", "failed")


class Job(JobWithMetrics):
    """A training job as it was when it was fetched; `refresh()` fetches it again.

    `metrics`, `pretraining` and `outcome` are there after `refresh()`, `wait()` and `jobs.get()`.
    """

    def __init__(self, data: Mapping[str, Any], transport: Transport) -> None:
        super().__init__(data)
        self._transport = transport

    @property
    def has_ended(self) -> bool:
        """Return whether the job has succeeded, failed, or been cancelled."""
        return self.state in ENDED

    def refresh(self) -> Job:
        """Return the job as it is now."""
        return Jobs(self._transport).get(self.id)

    def wait(self, timeout_s: float | None = None, *, progress: bool | Callable[[Job], object] = False) -> Job:
        """Wait until the job has ended, and return it, also if it has failed.

        `progress` shows how far it is, in a notebook or a terminal; or it is a function that is called with the job
        each time that it was fetched. An outage of up to five minutes is waited for.
        Raises `WaitTimeout` after `timeout_s`; the job then goes on.
        """

        def fetch(transport: Transport) -> Job:
            return Job((Jobs(transport).get(self.id)).to_dict(), self._transport)

        return until_ended(self, self._transport, fetch, Waiting(f"The job {self.id}", timeout_s), progress)

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield the job's events after an id (None: all), as they happen, until it has ended."""
        for event in Jobs(self._transport).events(self.id, after=after):
            yield event

    def model(self, epoch: int | None = None) -> Model:
        """Return the job's model: of its last checkpoint, or of an epoch (0: before training)."""
        name = self.id if epoch is None else f"{self.id}@{epoch}"
        response = self._transport.request("GET", "/models/{model_id}", {"model_id": name})
        return Model(answer_in(response), self._transport)

    def diagnostics(self) -> LayerRecords:
        """Return what every layer did, at the start and after each epoch; shown as a heat map in a notebook."""
        return LayerRecords(Jobs(self._transport).diagnostics(self.id).collect())

    def checkpoints(self) -> Items[Checkpoint]:
        """Return the stored weights, oldest first."""
        return Jobs(self._transport).checkpoints(self.id)

    def logs(self, attempt: int | None = None, *, tail: int | None = None) -> str:
        """Return what the worker has logged in an attempt (None: the last one), or its last `tail` lines."""
        return Jobs(self._transport).logs(self.id, attempt=attempt, tail=tail)

    def cancel(self) -> Job:
        """Cancel the job; its checkpoints stay."""
        return Jobs(self._transport).cancel(self.id)

    def pause(self) -> Job:
        """Pause the job at the end of its epoch."""
        return Jobs(self._transport).pause(self.id)

    def resume(self) -> Job:
        """Let a paused job go on from its last checkpoint, to the same weights bit for bit."""
        return Jobs(self._transport).resume(self.id)

    def retry(self) -> Job:
        """Let a failed job go on from its last checkpoint."""
        return Jobs(self._transport).retry(self.id)

    def edit(
        self,
        *,
        name: str | Unset | None = UNSET,
        note: str | Unset | None = UNSET,
        labels: Mapping[str, str | None] | None = None,
        priority: Priority | None = None,
        if_unchanged: bool = False,
    ) -> Job:
        """Change the job's description; see `jobs.edit`. With `if_unchanged` only if nobody has edited it since."""
        jobs, version = Jobs(self._transport), self.version if if_unchanged else None
        return jobs.edit(self.id, name=name, note=note, labels=labels, priority=priority, if_version=version)

    def delete(self) -> None:
        """Delete the job with its model, checkpoints, metrics and events."""
        Jobs(self._transport).delete(self.id)

    def _repr_html_(self) -> str:
        return job_html(self)


class Jobs:
    """The jobs of a service: `client.jobs`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        preset: Literal["mnist_nn_xavier", "mnist_nn_deep"] | None = None,
        init: str | Json | None = None,
        architecture: Json | None = None,
        output_init: Literal["same", "small", "zeros"] | None = None,
        optimizer: str | Json | None = None,
        batch_size: int | None = None,
        drop_last: bool | None = None,
        epochs: int | None = None,
        lr_schedule: Literal["constant", "linear", "cosine"] | None = None,
        warmup_steps: int | None = None,
        seed: int | None = None,
        data: Literal["auto", "mnist", "mnist_5k"] | None = None,
        validation_images: int | None = None,
        patience: int | None = None,
        test_curve: bool | None = None,
        precision: Literal["float32", "tf32", "bf16"] | None = None,
        max_seconds: float | None = None,
        diagnostics: bool | None = None,
        spec: Json | None = None,
        name: str | None = None,
        note: str | None = None,
        labels: Mapping[str, str] | None = None,
        device: Device | None = None,
        priority: Priority | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a training, and return its job.

        A preset, fields of a spec, or both: a field replaces that of the preset. `init` and `optimizer` may be names,
        such as `"he_normal"`. `spec` is a whole spec, such as `job.spec` of another job. With `device="gpu"` or `"cpu"`
        only such a worker takes it. A request that is sent again makes no second job: it has a key, made once, unless
        you pass your own.
        """
        fields = given(
            preset=preset,
            init=named(init, "scheme"),
            architecture=architecture,
            output_init=output_init,
            optimizer=named(optimizer, "name"),
            batch_size=batch_size,
            drop_last=drop_last,
            epochs=epochs,
            lr_schedule=lr_schedule,
            warmup_steps=warmup_steps,
            seed=seed,
            data=data,
            validation_images=validation_images,
            patience=patience,
            test_curve=test_curve,
            precision=precision,
            max_seconds=max_seconds,
            diagnostics=diagnostics,
            name=name,
            note=note,
            labels=labels,
            device=device,
        )
        body, key = {**given(spec=spec).get("spec", {}), **fields}, idempotency_key or uuid.uuid4().hex
        headers, query = {"Idempotency-Key": key}, {"priority": priority}
        response = self._transport.request("POST", "/jobs", query=query, body=body, headers=headers)
        return Job(answer_in(response), self._transport)

    def validate(self, spec: Json | None = None, *, priority: Priority | None = None) -> Validation:
        """Return the whole spec and the estimates of a job, without queueing it; `spec` is the body of a job."""
        query, body = {"validate_only": True, "priority": priority}, given(spec=spec or {})["spec"]
        return Validation(self._transport.answer("POST", "/jobs", query=query, body=body))

    def list(
        self,
        *,
        state: State | Sequence[State] | None = None,
        scheme: str | None = None,
        label: str | Sequence[str] | None = None,
        sort: Sort | None = None,
        limit: int | None = None,
    ) -> Items[Job]:
        """Return jobs, newest first unless `sort` says otherwise; labels are `key:value` or `key`, all must hold."""
        query = {"state": state, "scheme": scheme, "label": label, "sort": sort}
        return Items(self._transport, Place("/jobs", self._job, query=query), limit)

    def get(self, job_id: str) -> Job:
        """Return a job, with its metrics."""
        return self._job(self._transport.answer("GET", "/jobs/{job_id}", {"job_id": job_id}))

    def edit(
        self,
        job_id: str,
        *,
        name: str | Unset | None = UNSET,
        note: str | Unset | None = UNSET,
        labels: Mapping[str, str | None] | None = None,
        priority: Priority | None = None,
        if_version: int | None = None,
    ) -> Job:
        """Change name, note, labels or priority; what is left out stays, and None removes a name, a note or a label.

        With `if_version` only if the job still has that version; else raises `PreconditionFailed`.
        """
        body = changes(name=name, note=note, labels=labels, priority=priority)
        path, headers = {"job_id": job_id}, condition(if_version)
        response = self._transport.request(
            "PATCH", "/jobs/{job_id}", path, body=body, headers=headers, is_repeatable=if_version is None
        )
        return self._job(answer_in(response))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it waits, within a second if it runs. Its checkpoints stay."""
        return self._job(self._transport.answer("POST", "/jobs/{job_id}/cancel", {"job_id": job_id}))

    def pause(self, job_id: str) -> Job:
        """Pause a job: at once if it waits, at the end of the epoch if it runs."""
        return self._job(self._transport.answer("POST", "/jobs/{job_id}/pause", {"job_id": job_id}))

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again; it goes on from its last checkpoint, to the same weights bit for bit."""
        return self._job(self._transport.answer("POST", "/jobs/{job_id}/resume", {"job_id": job_id}))

    def retry(self, job_id: str) -> Job:
        """Queue a failed job again; it goes on from its last checkpoint."""
        return self._job(self._transport.answer("POST", "/jobs/{job_id}/retry", {"job_id": job_id}))

    def delete(self, job_id: str) -> None:
        """Delete a job with its model, checkpoints, metrics and events."""
        self._transport.request("DELETE", "/jobs/{job_id}", {"job_id": job_id}, is_repeatable=False)

    def delete_many(
        self,
        *,
        dry_run: bool,
        state: State | Sequence[State] | None = None,
        scheme: str | None = None,
        label: str | Sequence[str] | None = None,
    ) -> DeletedJobs:
        """Delete up to 1,000 jobs of a filter, or with `dry_run` only say which; those that must stay are `kept`."""
        query = {"dry_run": dry_run, "state": state, "scheme": scheme, "label": label}
        return DeletedJobs(self._transport.answer("DELETE", "/jobs", query=query, is_repeatable=dry_run))

    def follow_logs(self, job_id: str, *, attempt: int | None = None, tail: int | None = None) -> Iterator[str]:
        """Yield the lines of a job's log until it has ended: from an attempt's last `tail` ones (None: from all) on."""
        for line in logs.lines_of(self._transport, job_id, attempt, tail):
            yield line

    def logs(self, job_id: str, *, attempt: int | None = None, tail: int | None = None) -> str:
        """Return the last 256 KiB, or `tail` lines, that a worker has logged in an attempt (None: the last one)."""
        return logs.text_of(self._transport, job_id, attempt, tail)

    def metrics(self, job_id: str) -> Items[EpochMetrics]:
        """Return the metrics of every committed epoch."""
        return Items(self._transport, Place("/jobs/{job_id}/metrics", EpochMetrics, {"job_id": job_id}))

    def diagnostics(self, job_id: str) -> Items[Diagnostics]:
        """Return what every layer did, at the start and after each epoch."""
        return Items(self._transport, Place("/jobs/{job_id}/diagnostics", Diagnostics, {"job_id": job_id}))

    def checkpoints(self, job_id: str) -> Items[Checkpoint]:
        """Return the stored weights of a job, oldest first."""
        return Items(self._transport, Place("/jobs/{job_id}/checkpoints", Checkpoint, {"job_id": job_id}))

    def events(self, *job_ids: str, after: int | None = None) -> Iterator[Event]:
        """Yield the events of a job, of up to 100 jobs, or of all, after an id (None: all of them), as they happen.

        After a broken connection they go on where they were. They end when the jobs have; those of all jobs never do.
        """
        stream = streams.events(self._transport, "/events", {}, {"job": ",".join(job_ids) or None}, after)
        if len(job_ids) == 1:
            stream = streams.events(self._transport, "/jobs/{job_id}/events", {"job_id": job_ids[0]}, after=after)
        for event in stream:
            yield event

    def _job(self, data: dict[str, Any]) -> Job:
        return Job(data, self._transport)
