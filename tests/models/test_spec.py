from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from models.errors import InvalidSpec
from models.network.architecture import MAX_PARAMETERS, Architecture
from models.spec import PRESETS, TRAIN_IMAGES, TrainSpec, misfit, resolve_spec


def test_the_presets_are_the_recipes_of_the_course() -> None:
    xavier, deep = PRESETS["mnist_nn_xavier"], PRESETS["mnist_nn_deep"]
    assert xavier.architecture.sizes == (784, 256, 256, 10)
    assert deep.architecture.sizes == (784, 512, 512, 512, 512, 10)
    for preset in (xavier, deep):
        assert preset.architecture.activation == "relu"
        assert preset.init.model_dump() == {
            "scheme": "xavier_uniform",
            "bias": "torch_default",
            "bias_value": 0.0,
            "bias_std": None,
            "gain": 1.0,
        }
        assert preset.optimizer.model_dump() == {"name": "adam", "lr": 1e-3, "weight_decay": 0.0}
        assert (preset.batch_size, preset.drop_last, preset.epochs, preset.seed) == (100, True, 15, 777)


def test_an_override_replaces_a_whole_part_and_leaves_the_others() -> None:
    spec = resolve_spec({"preset": "mnist_nn_deep", "init": {"scheme": "he_normal"}, "epochs": 3, "seed": 1})
    assert spec.init.model_dump() == {
        "scheme": "he_normal",
        "bias": "zeros",
        "bias_value": 0.0,
        "bias_std": None,
        "mode": "fan_in",
        "negative_slope": 0.0,
    }
    assert (spec.epochs, spec.seed) == (3, 1)
    assert spec.architecture == PRESETS["mnist_nn_deep"].architecture


def test_a_preset_and_its_dumped_spec_resolve_to_the_same() -> None:
    spec = resolve_spec({"preset": "mnist_nn_xavier"})
    assert resolve_spec(json.loads(spec.model_dump_json())) == spec


def test_a_warm_up_is_held_against_the_data_that_it_meets() -> None:
    spec = resolve_spec({"warmup_steps": 1000, "data": "auto"})
    assert misfit(spec, 60_000) == ""
    assert misfit(spec, 4000) == "warmup_steps = 1000 is more than the 600 steps of the training"


def test_pre_training_needs_memory_for_what_a_layer_makes_of_all_images() -> None:
    of_step = resolve_spec({"architecture": {"hidden": [4096, 4096], "activation": "sigmoid"}}).memory_bytes
    body = {"architecture": {"hidden": [4096, 4096], "activation": "sigmoid"}, "init": {"scheme": "dbn"}}
    assert resolve_spec(body).memory_bytes - of_step >= 60_000 * 4096 * 4


def test_an_empty_request_is_a_whole_spec_with_a_seed() -> None:
    assert resolve_spec({}).seed == 777


@pytest.mark.parametrize(
    ("request_body", "where", "says"),
    [
        ({"preset": "mnist"}, ("preset",), "mnist_nn_xavier"),
        ({"colour": 1}, ("colour",), "not permitted"),
        ({"preset": "mnist_nn_deep", "colour": 1}, ("colour",), "not permitted"),
        ({"seed": None}, ("seed",), "integer"),
        ({"seed": -1}, ("seed",), "greater than or equal to 0"),
        ({"seed": False}, ("seed",), "valid integer"),
        ({"optimizer": {"name": "adam", "lr": True}}, ("optimizer", "adam", "lr"), "valid number"),
        ({"init": {"scheme": "zeros", "bias_value": True}}, ("init", "zeros", "bias_value"), "valid number"),
        ({"seed": 2**53}, ("seed",), "less than or equal"),
        ({"architecture": {"hidden": []}}, ("architecture", "hidden"), "at least 1"),
        ({"architecture": {"hidden": [8] * 257}}, ("architecture", "hidden"), "at most 256"),
        ({"architecture": {"activation": "swish"}}, ("architecture", "activation"), "relu"),
        ({"init": {"scheme": "normal", "std": 0}}, ("init", "normal", "std"), "greater than 0"),
        (
            {"init": {"scheme": "he_normal", "negative_slope": 10.5}},
            ("init", "he_normal", "negative_slope"),
            "less than or equal to 10",
        ),
        ({"init": {"scheme": "uniform", "low": 1, "high": 0}}, ("init", "uniform"), "low must be less than high"),
        ({"init": {"scheme": "zeros", "bias": "torch_default"}}, ("init", "zeros"), "break_symmetry_by_bias"),
        ({"init": {"scheme": "zeros", "bias_value": 1.0}}, ("init", "zeros"), '"bias": "constant"'),
        ({"init": {"scheme": "he_normal", "bias": "normal"}}, ("init", "he_normal"), "go together"),
        ({"init": {"scheme": "he_normal", "bias_std": 0.1}}, ("init", "he_normal"), "go together"),
        ({"init": {"scheme": "zeros", "bias": "normal", "bias_std": 1}}, ("init", "zeros"), "break_symmetry_by_bias"),
        (
            {"init": {"scheme": "zeros", "bias": "constant", "bias_value": 1e300}},
            ("init", "zeros", "bias_value"),
            "100",
        ),
        ({"init": {"scheme": "hinton"}}, ("init",), "xavier_uniform"),
        ({"optimizer": {"name": "sgd", "momentum": 1}}, ("optimizer", "sgd", "momentum"), "less than 1"),
        ({"optimizer": {"name": "adam", "lr": float("inf")}}, ("optimizer", "adam", "lr"), "finite"),
        ({"epochs": -1}, ("epochs",), "greater than or equal to 0"),
        ({"validation_images": 4_000, "data": "mnist_5k"}, (), "leaves nothing to train on"),
        ({"batch_size": 4_001, "drop_last": True, "data": "mnist_5k"}, (), "at most 4000"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_place_and_a_hint(
    request_body: dict[str, Any], where: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        resolve_spec(request_body)
    problems = caught.value.errors()
    assert any(problem["loc"] == where and says in problem["msg"] for problem in problems), problems


def test_a_batch_larger_than_the_data_is_fine_if_the_last_one_is_kept() -> None:
    assert TrainSpec(batch_size=60_000, validation_images=1).batch_size == 60_000


def test_networks_beyond_the_limit_of_parameters_are_refused() -> None:
    with pytest.raises(ValidationError, match=f"{MAX_PARAMETERS:,}"):
        Architecture(hidden=(8192,) * 3)


def test_parameters_are_counted_with_biases() -> None:
    assert Architecture(hidden=(256, 256)).parameter_count == 784 * 256 + 256 + 256 * 256 + 256 + 2560 + 10


def test_batches_beyond_the_limit_of_memory_are_refused() -> None:
    with pytest.raises(ValidationError, match="use a smaller batch_size"):
        TrainSpec(architecture=Architecture(hidden=(1024,) * 64), batch_size=60_000)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="JSON object"):
        resolve_spec(5)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        PRESETS["mnist_nn_xavier"].epochs = 1  # type: ignore[misc]


def test_auto_is_held_to_the_larger_data_set() -> None:
    assert TRAIN_IMAGES["auto"] == TRAIN_IMAGES["mnist"] == 60_000


def test_an_error_carries_its_hint() -> None:
    error = InvalidSpec("It is wrong.", "Do this.")
    assert (str(error), error.detail, error.hint) == ("It is wrong. Do this.", "It is wrong.", "Do this.")
