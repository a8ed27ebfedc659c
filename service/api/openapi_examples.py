"""An example answer of every operation, for the OpenAPI document; a test holds each against its model."""

from __future__ import annotations

from typing import Any

from models.spec import PRESETS

JOB_ID = "job_01a20b6507307f2dac4975e582124723"
_CREATED = "2026-11-24T02:31:41Z"
_STARTED = "2026-11-24T02:31:43Z"
_ENDED = "2026-11-24T02:31:59Z"
_WEIGHTS_SHA256 = "f1ea7d49d0773bd198b29a84db93fa60863d33423a23f144bb5e7421e4f8370e"
_SPEC: dict[str, Any] = PRESETS["mnist_nn_xavier"].model_dump(mode="json")
_INTERVAL = {"low": 0.9751, "high": 0.9808, "level": 0.95, "method": "wilson"}
_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

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
    "preset": "mnist_nn_xavier",
    "spec": _SPEC,
    "priority": "normal",
    "queue_position": 1,
    "estimated_start_at": _STARTED,
    "epoch": 0,
    "progress": None,
    "attempt": 0,
    "device": None,
    "data_source": None,
    "reproducible": True,
    "irreproducible_reason": None,
    "error": None,
    "experiment_id": None,
    "created_at": _CREATED,
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
_MODEL: dict[str, Any] = {
    "id": JOB_ID,
    "object": "model",
    "job_id": JOB_ID,
    "epoch": 15,
    "final": True,
    "spec": _SPEC,
    "parameter_count": 269322,
    "weights_sha256": _WEIGHTS_SHA256,
    "weights_bytes": 1079000,
    "accuracy": 0.9781,
    "evaluated_on": "mnist_test",
    "created_at": _ENDED,
    "links": {
        "self": f"/models/{JOB_ID}",
        "job": f"/jobs/{JOB_ID}",
        "evaluation": f"/models/{JOB_ID}/evaluation",
        "predict": f"/predict?model={JOB_ID}",
    },
}
_LAYER: dict[str, Any] = {
    "layer": 1,
    "fan_in": 784,
    "fan_out": 256,
    "weight_mean": 0.0,
    "weight_std": 0.0439,
    "weight_absmax": 0.076,
    "bias_absmax": 0.0,
    "weight_std_predicted": 0.0439,
    "weight_variance_z": 0.41,
    "z_mean": -0.01,
    "z_std": 0.42,
    "z_rms": 0.42,
    "z_rms_predicted": 0.43,
    "local_ratio": 0.98,
    "local_z": -0.2,
    "a_mean": 0.16,
    "a_std": 0.25,
    "a_rms": 0.3,
    "a_q02": 0.0,
    "a_q50": 0.0,
    "a_q98": 0.9,
    "dead_fraction": 0.0,
    "saturated_fraction": None,
    "dz_rms": 0.02,
    "dz_rms_predicted": 0.02,
    "weight_gradient_std": 0.001,
    "bias_gradient_std": 0.002,
    "distinct_units": 256,
    "update_ratio": None,
    "singular_min": 0.5,
    "singular_max": 1.9,
    "jacobian_singular_mean": 0.75,
}
_DIAGNOSTICS: dict[str, Any] = {
    "epoch": 0,
    "images": 512,
    "loss": 2.33,
    "gradient_norm": 0.9,
    "verdict": "fine",
    "layers": [_LAYER],
}
_SCHEME: dict[str, Any] = {
    "name": "zeros",
    "title": "All zeros",
    "summary": "Every weight is 0.",
    "formula": "W = 0",
    "formula_tex": "W_{ij} = 0",
    "source": "The counter-example of every course.",
    "parameters": [
        {
            "name": "bias_value",
            "description": "The bias of every unit; only with `bias` = constant.",
            "default": 0.0,
            "types": ["number"],
        }
    ],
}


_EXPERIMENT_ID = "exp_01a20b6507307f2dac4975e582124723"
_EXPERIMENT_SUMMARY: dict[str, Any] = {
    "id": _EXPERIMENT_ID,
    "object": "experiment",
    "name": "he_normal; 1 seed",
    "recipe": None,
    "states": {"succeeded": 1},
    "has_ended": True,
    "created_at": _CREATED,
    "links": {
        "self": f"/experiments/{_EXPERIMENT_ID}",
        "events": f"/experiments/{_EXPERIMENT_ID}/events",
        "comparison": f"/experiments/{_EXPERIMENT_ID}/comparison",
        "cancel": f"/experiments/{_EXPERIMENT_ID}/cancel",
    },
}
_EXPERIMENT: dict[str, Any] = _EXPERIMENT_SUMMARY | {
    "request": {"base": {"preset": "mnist_nn_xavier"}, "schemes": ["he_normal"], "seeds": [0]},
    "members": [
        {
            "job_id": JOB_ID,
            "state": "succeeded",
            "seed": 0,
            "name": "he_normal",
            "label": {"init.scheme": "he_normal"},
            "accuracy": 0.9804,
        }
    ],
    "verdict": None,
}


def _list_of(*items: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": False}


_ANSWER: dict[str, Any] = {
    "label": 7,
    "probabilities": [0.0, 0.0, 0.0003, 0.0012, 0.0, 0.0, 0.0, 0.9984, 0.0, 0.0001],
    "model": {
        "id": f"{JOB_ID}@15",
        "scheme": "xavier_uniform",
        "accuracy": 0.9781,
        "evaluated_on": "mnist_test",
        "weights_sha256": _WEIGHTS_SHA256,
    },
    "read_as": {"form": "png", "scale": "0-255", "fitted": False},
}
_ALIAS = {
    "object": "alias",
    "name": "champion",
    "model": f"{JOB_ID}@15",
    "version": 1,
    "updated_at": _ENDED,
}
_OIP_MODEL: dict[str, Any] = {
    "name": "latest",
    "versions": ["0", "1", "2"],
    "platform": "fanin_mlp",
    "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}],
    "outputs": [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "labels", "datatype": "INT64", "shape": [-1]},
    ],
}
_OIP_ANSWER: dict[str, Any] = {
    "model_name": "latest",
    "model_version": "15",
    "outputs": [{"name": "labels", "datatype": "INT64", "shape": [1], "data": [7]}],
}
_OIP_STATS: dict[str, Any] = {
    "model_stats": [{"name": "latest", "version": "", "inference_count": 1, "execution_count": 1}]
}

EXAMPLES: dict[str, Any] = {
    "submit_job": _QUEUED,
    "get_jobs": _list_of(_RUNNING),
    "get_one_job": _RUNNING | {"metrics": [_METRICS], "pretraining": []},
    "get_metrics": _list_of(_METRICS),
    "get_checkpoints": _list_of(
        {
            "model": f"{JOB_ID}@0",
            "seq": 0,
            "phase": "train",
            "epoch": 0,
            "final": False,
            "attempt": 1,
            "weights_bytes": 1079000,
            "weights_sha256": _WEIGHTS_SHA256,
            "created_at": _STARTED,
        }
    ),
    "get_diagnostics": _list_of(_DIAGNOSTICS),
    "delete_job": {"id": JOB_ID, "object": "job", "deleted": True},
    "cancel": _RUNNING | {"state": "cancelling"},
    "pause": _RUNNING | {"state": "pausing"},
    "resume": _QUEUED,
    "retry": _QUEUED,
    "get_events": _list_of(
        {"id": 1, "job_id": JOB_ID, "type": "job.queued", "at": _CREATED, "data": {}},
        {"id": 2, "job_id": JOB_ID, "type": "job.running", "at": _STARTED, "data": {"attempt": 1, "device": "cpu"}},
    ),
    "get_events_of_jobs": _list_of(
        {"id": 1, "job_id": JOB_ID, "type": "job.queued", "at": _CREATED, "data": {}},
        {"id": 2, "job_id": JOB_ID, "type": "job.running", "at": _STARTED, "data": {"attempt": 1, "device": "cpu"}},
    ),
    "get_recipes": _list_of(
        {
            "name": "R3",
            "object": "recipe",
            "title": "zeros_with_random_bias",
            "claim": "Zero weights with torch's random biases do learn.",
            "source": "ours",
            "expected": "accuracy > .90 after one epoch, every seed",
            "seeds": [777, 0, 1],
            "least_seeds": 1,
            "members": 3,
            "is_long": False,
        }
    ),
    "submit_experiment": _EXPERIMENT,
    "get_one_experiment": _EXPERIMENT,
    "cancel_experiment": _EXPERIMENT,
    "get_experiments": _list_of(_EXPERIMENT_SUMMARY),
    "get_events_of_experiment": _list_of(
        {"id": 1, "job_id": JOB_ID, "type": "job.queued", "at": _CREATED, "data": {}},
    ),
    "get_comparison": {
        "object": "comparison",
        "evaluated_on": "mnist_test",
        "n_images": 10000,
        "differing_fields": ["init.scheme"],
        "groups": [
            {
                "name": name,
                "label": {"init.scheme": name},
                "n": 3,
                "seeds": [0, 1, 2],
                "accuracy": {"mean": 0.979, "sd": 0.001, "low": 0.9765, "high": 0.9815},
                "final_train_loss": {"mean": 0.009, "sd": 0.001, "low": 0.0065, "high": 0.0115},
                "first_step_below_2": [14, 14, 13],
            }
            for name in ("he_normal", "xavier_uniform")
        ],
        "pairs": [
            {
                "first": {"init.scheme": "he_normal"},
                "second": {"init.scheme": "xavier_uniform"},
                "seeds": [0, 1, 2],
                "accuracy_difference": {"mean": 0.0004, "sd": 0.001, "low": -0.002, "high": 0.003},
                "mcnemar": [{"seed": 0, "only_first_right": 61, "only_second_right": 52, "p_value": 0.45}],
                "verdict": "3 seeds show no difference between he_normal and xavier_uniform: he_normal is ahead by "
                "0.04 points of accuracy on average, less than seeds alone can make (95 % interval -0.20 to 0.30).",
            }
        ],
    },
    "get_workers": _list_of(
        {
            "name": "lab-pc:cpu-0",
            "object": "worker",
            "is_live": True,
            "last_heard_s": 2.41,
            "device_kind": "cpu",
            "device_name": "x86_64",
            "threads": 2,
            "run_id": None,
            "started_at": _CREATED,
        }
    ),
    "get_models": _list_of(_MODEL),
    "get_model": _MODEL,
    "get_evaluation": {
        "accuracy": 0.9781,
        "evaluated_on": "mnist_test",
        "n": 10000,
        "accuracy_interval": _INTERVAL,
        "test_accuracy": 0.9781,
        "test_accuracy_raw255": 0.9769,
        "accuracy_raw255": 0.9769,
        "mean_negative_log_likelihood": 0.1021,
        "per_class": [{"digit": digit, "n": count, "accuracy": 1.0} for digit, count in enumerate(_COUNTS)],
        "confusion_matrix": [
            [count if row == column else 0 for column in range(10)] for row, count in enumerate(_COUNTS)
        ],
    },
    "predict": _ANSWER,
    "predict_by": _ANSWER,
    "get_aliases": _list_of(_ALIAS),
    "get_one_alias": _ALIAS,
    "put_alias": _ALIAS,
    "delete_one_alias": {"name": "champion", "object": "alias", "deleted": True},
    "get_mistakes": _list_of(
        {
            "model": f"{JOB_ID}@15",
            "dataset": "mnist",
            "index": 115,
            "label": 4,
            "answer": 9,
            "probability": 0.98,
            "probability_of_label": 0.02,
            "image": "data:image/png;base64,iVBORw0KGgo=",
        }
    ),
    "classify": [{"label": "7", "score": 0.9999}, {"label": "2", "score": 0.0001}],
    "get_server": {"name": "fanin", "version": "0.1.0", "extensions": ["binary_tensor_data", "classification"]},
    "get_live": {"live": True, "ready": True},
    "get_ready": {"live": True, "ready": True},
    "get_metadata": _OIP_MODEL,
    "get_version_metadata": _OIP_MODEL,
    "get_model_ready": {"live": True, "ready": True, "name": "latest"},
    "get_version_ready": {"live": True, "ready": True, "name": "latest"},
    "get_config": {"name": "latest", "platform": "fanin_mlp", "max_batch_size": 10000, "spec": _SPEC},
    "infer": _OIP_ANSWER,
    "infer_with_version": _OIP_ANSWER,
    "get_all_stats": _OIP_STATS,
    "get_stats": _OIP_STATS,
    "get_version_stats": _OIP_STATS,
    "index": [{"name": JOB_ID, "version": "15", "state": "READY", "reason": ""}],
    "get_datasets": _list_of(
        {"name": "mnist", "available": True, "detail": "60,000 training digits, 10,000 test digits."}
    ),
    "get_test_digit": {
        "dataset": "mnist",
        "split": "test",
        "index": 0,
        "label": 7,
        "pixels": [[0] * 28 for _ in range(28)],
    },
    "get_schemes": _list_of(_SCHEME),
    "get_scheme": _SCHEME,
    "preview_scheme": {
        "object": "preview",
        "spec": _SPEC | {"epochs": 0, "batch_size": 1},
        "data": "mnist",
        "note": None,
        "diagnostics": _DIAGNOSTICS,
    },
    "healthz": {"status": "ok"},
    "readyz": {"status": "ok"},
}
