"""Values that several examples share."""

from __future__ import annotations

from typing import Any

from models.spec import PRESETS

JOB_ID = "job_01a20b6507307f2dac4975e582124723"
CREATED = "2026-11-24T02:31:41Z"
WEIGHTS_SHA256 = "f1ea7d49d0773bd198b29a84db93fa60863d33423a23f144bb5e7421e4f8370e"
SPEC: dict[str, Any] = PRESETS["mnist_nn_xavier"].model_dump(mode="json")
LAYER: dict[str, Any] = {
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
DIAGNOSTICS: dict[str, Any] = {
    "epoch": 0,
    "images": 512,
    "loss": 2.33,
    "gradient_norm": 0.9,
    "verdict": "fine",
    "layers": [LAYER],
}


def list_of(*items: Any) -> dict[str, Any]:
    """Return a last page with these items."""
    return {"object": "list", "data": list(items), "has_more": False}
