"""Example responses of the operations on experiments and schemes."""

from __future__ import annotations

from typing import Any

from service.api.openapi_examples.shared import CREATED, DIAGNOSTICS, JOB_ID, SPEC, list_of

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
    "note": None,
    "labels": {"course": "a"},
    "version": 1,
    "recipe": None,
    "states": {"succeeded": 1},
    "has_ended": True,
    "created_at": CREATED,
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
EXPERIMENTS: dict[str, Any] = {
    "get_recipes": list_of(
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
    "edit_experiment": _EXPERIMENT | {"version": 2},
    "delete_one_experiment": {"id": _EXPERIMENT_ID, "object": "experiment", "members": 6, "deleted": True},
    "cancel_experiment": _EXPERIMENT,
    "refine_experiment": _EXPERIMENT,
    "get_experiments": list_of(_EXPERIMENT_SUMMARY),
    "get_events_of_experiment": list_of(
        {"id": 1, "job_id": JOB_ID, "type": "job.queued", "at": CREATED, "data": {}},
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
        "baseline": None,
        "pairs": [
            {
                "first": {"init.scheme": "he_normal"},
                "second": {"init.scheme": "xavier_uniform"},
                "seeds": [0, 1, 2],
                "accuracy_difference": {"mean": 0.0004, "sd": 0.001, "low": -0.0041, "high": 0.0049},
                "p_value": 0.74,
                "p_adjusted": 0.74,
                "adjustment": "holm",
                "mcnemar": [{"seed": 0, "only_first_right": 61, "only_second_right": 52, "p_value": 0.45}],
                "verdict": "Cannot tell he_normal and xavier_uniform apart: he_normal is ahead by 0.04 points of "
                "accuracy on average over 3 seeds, which seeds and test images can explain (95 % interval of this pair "
                "-0.41 to 0.49; p = 0.74, Holm-adjusted for 1 pair).",
            }
        ],
    },
    "get_schemes": list_of(_SCHEME),
    "get_scheme": _SCHEME,
    "get_phase_diagram": {
        "object": "phase_diagram",
        "activation": "tanh",
        "sigma_w": [1.0, 1.5],
        "sigma_b": [0.2],
        "phase": [["ordered", "chaotic"]],
        "q": [[0.16977, 0.924]],
        "c": [[1.0, 0.471]],
        "chi": [[0.779, 1.123]],
        "xi_q": [[1.94, 1.35]],
        "xi_c": [[4.01, 14.4]],
        "critical_line": [{"sigma_w": 1.298, "sigma_b": 0.203, "q": 0.5}],
        "schemes": [{"scheme": "xavier_normal", "sigma_w": 1.0, "sigma_b": 0.0}],
    },
    "preview_scheme": {
        "object": "preview",
        "spec": SPEC | {"epochs": 0, "batch_size": 1},
        "data": "mnist",
        "note": None,
        "diagnostics": DIAGNOSTICS,
    },
}
