"""Example responses of the operations on jobs and workers."""

from __future__ import annotations

from typing import Any

from service.api.openapi_examples.shared import CREATED, DIAGNOSTICS, JOB_ID, SPEC, WEIGHTS_SHA256, list_of

_STARTED = "2026-11-24T02:31:43Z"
_METRICS = {
    "epoch": 1,
    "train_loss_mean": 0.2433,
    "train_loss_last_batch": 0.2367,
    "first_step_below_2": 14,
    "train_accuracy": 0.9295,
    "duration_s": 0.95,
    "images_per_s": 101694.9,
    "validation_loss": None,
    "validation_accuracy": None,
    "test_accuracy": None,
}
_QUEUED: dict[str, Any] = {
    "id": JOB_ID,
    "object": "job",
    "state": "queued",
    "name": "He, first try",
    "note": None,
    "labels": {"course": "a"},
    "version": 1,
    "preset": "mnist_nn_xavier",
    "spec": SPEC,
    "priority": "normal",
    "wanted_device": "any",
    "queue_position": 1,
    "estimated_start_at": _STARTED,
    "epoch": 0,
    "loss": None,
    "accuracy": None,
    "progress": None,
    "attempt": 0,
    "device": None,
    "data_source": None,
    "reproducible": True,
    "irreproducible_reason": None,
    "error": None,
    "experiment_id": None,
    "created_at": CREATED,
    "started_at": None,
    "ended_at": None,
    "links": {
        "self": f"/jobs/{JOB_ID}",
        "metrics": f"/jobs/{JOB_ID}/metrics",
        "events": f"/jobs/{JOB_ID}/events",
        "checkpoints": f"/jobs/{JOB_ID}/checkpoints",
        "diagnostics": f"/jobs/{JOB_ID}/diagnostics",
        "cancel": f"/jobs/{JOB_ID}/cancel",
        "pause": f"/jobs/{JOB_ID}/pause",
        "resume": f"/jobs/{JOB_ID}/resume",
        "retry": f"/jobs/{JOB_ID}/retry",
        "model": f"/models/{JOB_ID}",
    },
}
_RUNNING = _QUEUED | {
    "state": "running",
    "queue_position": None,
    "estimated_start_at": None,
    "epoch": 1,
    "loss": 0.2433,
    "progress": {
        "phase": "train",
        "layer": None,
        "epoch": 2,
        "epochs": 15,
        "step": 300,
        "steps_per_epoch": 600,
        "percent": 10.0,
        "running_loss": 0.0987,
        "images_per_s": 101694.9,
        "time_left_s": 8.0,
    },
    "attempt": 1,
    "device": {
        "kind": "cpu",
        "name": "x86_64",
        "threads": 2,
        "worker": "lab-pc:cpu-0",
        "engine": "sparse-kernel-avx512",
        "precision": "float32",
        "torch": "2.14.1",
    },
    "data_source": {"name": "mnist", "sha256": "8f1a"},
    "started_at": _STARTED,
}
JOBS: dict[str, Any] = {
    "submit_job": _QUEUED,
    "get_jobs": list_of(_RUNNING),
    "get_one_job": _RUNNING | {"metrics": [_METRICS], "pretraining": [], "outcome": None},
    "get_metrics": list_of(_METRICS),
    "get_checkpoints": list_of(
        {
            "model": f"{JOB_ID}@0",
            "seq": 0,
            "phase": "train",
            "epoch": 0,
            "final": False,
            "attempt": 1,
            "weights_bytes": 1079000,
            "weights_sha256": WEIGHTS_SHA256,
            "created_at": _STARTED,
        }
    ),
    "get_diagnostics": list_of(DIAGNOSTICS),
    "edit_job": _QUEUED | {"version": 2},
    "delete_many_jobs": {
        "object": "deletion",
        "dry_run": True,
        "jobs": [JOB_ID],
        "kept": [{"id": JOB_ID.replace("0", "1"), "reason": "The model has the alias champion."}],
        "has_more": False,
    },
    "delete_job": {"id": JOB_ID, "object": "job", "deleted": True},
    "cancel": _RUNNING | {"state": "cancelling"},
    "pause": _RUNNING | {"state": "pausing"},
    "resume": _QUEUED,
    "retry": _QUEUED,
    "get_events": list_of(
        {"id": 1, "job_id": JOB_ID, "type": "job.queued", "at": CREATED, "data": {}},
        {"id": 2, "job_id": JOB_ID, "type": "job.running", "at": _STARTED, "data": {"attempt": 1, "device": "cpu"}},
    ),
    "get_events_of_jobs": list_of(
        {"id": 1, "job_id": JOB_ID, "type": "job.queued", "at": CREATED, "data": {}},
        {"id": 2, "job_id": JOB_ID, "type": "job.running", "at": _STARTED, "data": {"attempt": 1, "device": "cpu"}},
    ),
    "get_workers": list_of(
        {
            "name": "lab-pc:cpu-0",
            "object": "worker",
            "is_live": True,
            "last_heard_s": 2.41,
            "device_kind": "cpu",
            "device_name": "x86_64",
            "threads": 2,
            "run_id": None,
            "started_at": CREATED,
        }
    ),
}
