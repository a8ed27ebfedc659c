"""Example responses of the operations on models, predictions and data."""

from __future__ import annotations

from typing import Any

from service.api.openapi_examples.shared import JOB_ID, SPEC, WEIGHTS_SHA256, list_of

_ENDED = "2026-11-24T02:31:59Z"
_INTERVAL = {"low": 0.9751, "high": 0.9808, "level": 0.95, "method": "wilson"}
_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
_MODEL: dict[str, Any] = {
    "id": JOB_ID,
    "object": "model",
    "job_id": JOB_ID,
    "epoch": 15,
    "final": True,
    "spec": SPEC,
    "parameter_count": 269322,
    "weights_sha256": WEIGHTS_SHA256,
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
_ANSWER: dict[str, Any] = {
    "label": 7,
    "probabilities": [0.0, 0.0, 0.0003, 0.0012, 0.0, 0.0, 0.0, 0.9984, 0.0, 0.0001],
    "model": {
        "id": f"{JOB_ID}@15",
        "scheme": "xavier_uniform",
        "accuracy": 0.9781,
        "evaluated_on": "mnist_test",
        "weights_sha256": WEIGHTS_SHA256,
    },
    "read_as": {"form": "png", "scale": "0-255", "fitted": False},
}
_HISTOGRAM: dict[str, Any] = {
    "low": -0.11,
    "high": 0.12,
    "counts": [3100] * 64,
    "zeros": 0,
    "not_finite": 0,
    "mean": -0.0012,
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
MODELS: dict[str, Any] = {
    "get_models": list_of(_MODEL),
    "get_model": _MODEL,
    "get_distributions": {
        "object": "distributions",
        "model": f"{JOB_ID}@15",
        "epoch": 15,
        "images": 512,
        "layers": [
            {
                "layer": 1,
                "weights": _HISTOGRAM,
                "weight_gradients": _HISTOGRAM,
                "activations": _HISTOGRAM | {"zeros": 71205},
                "unit_cosines": _HISTOGRAM | {"low": -1.0, "high": 1.0},
            }
        ],
    },
    "get_path": {
        "object": "path",
        "model": _ANSWER["model"],
        "label": 7,
        "probabilities": _ANSWER["probabilities"],
        "layers": [
            {"layer": 0, "units": 784, "activations": [0.0] * 784},
            {"layer": 1, "units": 4, "activations": [0.0, 1.52, 0.31, 0.0]},
            {"layer": 2, "units": 10, "activations": [-9.1, -8.2, -1.3, 0.1, -9.0, -7.4, -12.0, 6.8, -6.2, -2.4]},
        ],
        "links": [{"layer": 2, "source": 1, "target": 7, "contribution": 5.9}],
    },
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
    "get_aliases": list_of(_ALIAS),
    "get_one_alias": _ALIAS,
    "put_alias": _ALIAS,
    "delete_one_alias": {"name": "champion", "object": "alias", "deleted": True},
    "get_mistakes": list_of(
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
    "get_samples": {
        "object": "samples",
        "model": JOB_ID,
        "start": "noise",
        "layers": [784, 500],
        "chains": [
            {
                "frames": [{"step": 0, "image": "data:image/png;base64,iVBORw0KGgo="}],
                "reconstruction": None,
            }
        ],
    },
    "get_likelihood": {
        "object": "likelihood",
        "machines": 1,
        "units": 500,
        "is_bound": False,
        "log_z": 451.3,
        "log_z_low": 451.0,
        "log_z_high": 451.5,
        "method": "ais",
        "chains": 100,
        "effective_chains": 81.5,
        "temperatures": 1000,
        "test_images": 10_000,
        "test_log_likelihood": -125.0,
        "train_images": 10_000,
        "train_log_likelihood": -124.6,
    },
    "classify": [{"label": "7", "score": 0.9999}, {"label": "2", "score": 0.0001}],
    "get_server": {"name": "fanin", "version": "0.1.0", "extensions": ["binary_tensor_data", "classification"]},
    "get_live": {"live": True, "ready": True},
    "get_ready": {"live": True, "ready": True},
    "get_metadata": _OIP_MODEL,
    "get_version_metadata": _OIP_MODEL,
    "get_model_ready": {"live": True, "ready": True, "name": "latest"},
    "get_version_ready": {"live": True, "ready": True, "name": "latest"},
    "get_config": {"name": "latest", "platform": "fanin_mlp", "max_batch_size": 10000, "spec": SPEC},
    "infer": _OIP_ANSWER,
    "infer_with_version": _OIP_ANSWER,
    "get_all_stats": _OIP_STATS,
    "get_stats": _OIP_STATS,
    "get_version_stats": _OIP_STATS,
    "index": [{"name": JOB_ID, "version": "15", "state": "READY", "reason": ""}],
    "get_datasets": list_of(
        {"name": "mnist", "available": True, "detail": "60,000 training digits, 10,000 test digits."}
    ),
    "get_test_digit": {
        "dataset": "mnist",
        "split": "test",
        "index": 0,
        "label": 7,
        "pixels": [[0] * 28 for _ in range(28)],
    },
    "healthz": {"status": "ok"},
    "readyz": {
        "status": "ok",
        "version": "0.1.0",
        "build": None,
        "database": "ok",
        "artifacts": "ok",
        "disk_free_bytes": 70_677_872_640,
        "data": "mnist",
        "workers": 1,
    },
}
