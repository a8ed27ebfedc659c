"""The compiled forward pass: equal to NumPy's for every activation, shape and kind of processor, and absent unbuilt."""

from __future__ import annotations

import ctypes.util
import importlib.util
import itertools
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from models.checkpoint import CheckpointMetadata
from models.data.mnist import DataSet
from models.errors import OutputNotFinite
from models.inference import compiled_forward as forward_module
from models.inference.compiled_forward import (
    KINDS,
    Floats,
    Forward,
    Kind,
    Likely,
    Rows,
    all_likely,
    forward_of,
    kinds,
    rows_of,
)
from models.inference.input_checks import LIKELY, input_warnings
from models.inference.predictor import Predictor
from models.native.row_layout import LINE
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.vocabulary import Activation

NOT_BUILT = "no compiled forward pass: it needs a C compiler when installing Fanin"


def weights_of(sizes: Sequence[int]) -> dict[str, Floats]:
    random = np.random.default_rng(5)
    weights: dict[str, Floats] = {}
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        spread = (2 / fan_in) ** 0.5
        weights[f"layers.{index}.weight"] = random.normal(0, spread, (fan_out, fan_in)).astype(np.float32)
        weights[f"layers.{index}.bias"] = random.normal(0, 0.1, fan_out).astype(np.float32)
    return weights


def predictor_of(hidden: tuple[int, ...], activation: Activation = "relu") -> Predictor:
    spec = TrainSpec(architecture=Architecture(hidden=hidden, activation=activation))
    metadata = CheckpointMetadata(spec=spec, epoch=1, final=True, data="mnist", data_sha256="", weights_sha256="0" * 64)
    return Predictor(weights_of((784, *hidden, 10)), metadata)


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_module, "_library", lambda: None)


def compiled(predictor: Predictor, kind: Kind) -> Forward:
    if kind not in kinds():
        pytest.skip(f"this processor does not run {kind}" if kinds() else NOT_BUILT)
    architecture = predictor.metadata.spec.architecture
    forward = forward_of(rows_of(weights_of(architecture.sizes)), architecture.activation, kind)
    assert forward is not None
    return forward


def in_numpy(predictor: Predictor, images: NDArray[np.uint8]) -> Floats:
    weights = weights_of(predictor.metadata.spec.architecture.sizes)
    return Predictor(weights, predictor.metadata, compiled=False).predict(images)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", get_args(Activation))
def test_probabilities_are_those_of_numpy(activation: Activation, kind: Kind, few: DataSet) -> None:
    predictor = predictor_of((300, 65, 7), activation)
    found, finite = compiled(predictor, kind).probabilities(few.test.images.reshape(-1, 784))
    assert finite
    assert found.shape == (len(few.test.images), 10)
    assert np.abs(found - in_numpy(predictor, few.test.images)).max() < 2e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [(1,), (16,), (257,), (1040, 31)])
def test_widths_beside_whole_cache_lines_are_right(hidden: tuple[int, ...], kind: Kind, few: DataSet) -> None:
    predictor = predictor_of(hidden)
    found, _ = compiled(predictor, kind).probabilities(few.test.images.reshape(-1, 784))
    assert np.abs(found - in_numpy(predictor, few.test.images)).max() < 2e-6


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 33])
def test_a_digit_gets_the_same_bits_alone_and_among_others(count: int, few: DataSet) -> None:
    pixels = few.test.images[:count].reshape(-1, 784)
    forward = compiled(predictor_of((64, 32)), kinds()[0] if kinds() else "baseline")
    together, _ = forward.probabilities(pixels)
    assert together.shape == (count, 10)
    for index in range(count):
        alone, _ = forward.probabilities(pixels[index : index + 1])
        assert np.array_equal(alone[0], together[index])


def test_what_is_all_lit_or_all_dark_is_predicted_too() -> None:
    images = np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
    predictor = predictor_of((64, 32))
    assert np.abs(predictor.predict(images) - in_numpy(predictor, images)).max() < 2e-6


def test_inputs_are_predicted_as_the_pixels_they_are_made_of(few: DataSet) -> None:
    predictor = predictor_of((64, 32))
    inputs = few.test.images.reshape(-1, 784).astype(np.float32) / np.float32(255)
    assert np.array_equal(predictor.predict_inputs(inputs), predictor.predict(few.test.images))
    every_second = np.concatenate([inputs, inputs], axis=1)[:, ::2]  # not in one row of memory
    assert np.array_equal(
        predictor.predict_inputs(every_second), predictor.predict_inputs(np.ascontiguousarray(every_second))
    )


def test_another_shape_or_type_is_refused() -> None:
    forward = compiled(predictor_of((8,)), "baseline")
    with pytest.raises(ValueError, match=r"float64\(2, 784\) are not uint8 or float32 \[n, 784\]"):
        forward.probabilities(np.zeros((2, 784), np.float64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(2, 783\)"):
        forward.probabilities(np.zeros((2, 783), np.uint8))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_weight_that_is_not_finite_is_left_to_numpy(bad: float, few: DataSet) -> None:
    weights = weights_of((784, 8, 10))
    weights["layers.0.weight"][3, 0] = bad  # of a pixel that no digit lights, where a product of listed rows is blind
    assert forward_of(rows_of(weights), "relu") is None
    predictor = Predictor(weights, predictor_of((8,)).metadata)
    with pytest.raises(OutputNotFinite):
        predictor.predict(few.test.images)


def test_rows_begin_at_cache_lines_and_end_in_zeros() -> None:
    weights = weights_of((784, 20))
    rows = Rows.of(weights["layers.0.weight"], weights["layers.0.bias"])
    assert rows.values.ctypes.data % (4 * LINE) == 0
    assert rows.values.shape == (785, 32)
    assert not rows.values[:, 20:].any()
    assert np.array_equal(rows.weight, weights["layers.0.weight"].T)
    assert np.array_equal(rows.bias, weights["layers.0.bias"])


def limits(**changes: float) -> Likely:
    """Return limits that every image keeps, but for `changes`."""
    widest = {"most_total": 1e9, "most_offset": 28.0, "most_lit": 784, "most_side": 28}
    return Likely(**widest | changes)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"least_total": 3 * 200}, True),
        ({"least_total": 3 * 200 + 1}, False),
        ({"most_total": 3 * 200}, True),
        ({"most_total": 3 * 200 - 1}, False),
        ({"least_brightest": 200}, True),
        ({"least_brightest": 201}, False),
        ({"most_lit": 3}, True),
        ({"most_lit": 2}, False),
        ({"least_side": 3, "faint_level": 199}, True),
        ({"least_side": 4}, False),
        ({"least_side": 1, "faint_level": 200}, False),
        ({"most_side": 3}, True),
        ({"most_side": 2, "clear_level": 199}, False),
        ({"most_side": 2, "clear_level": 200}, True),
    ],
)
@pytest.mark.parametrize("is_upright", [False, True])
def test_the_quick_look_has_limits_of_ink_and_size(changes: dict[str, float], passes: bool, is_upright: bool) -> None:
    if not kinds():
        pytest.skip(NOT_BUILT)
    image = np.zeros((28, 28), np.uint8)
    image[14, 12:15] = 200
    assert all_likely((image.T.copy() if is_upright else image)[None], limits(**changes)) is passes


def test_without_the_library_numpy_predicts(few: DataSet, without_library: None) -> None:
    predictor = predictor_of((64, 32))
    assert forward_of([], "relu") is None
    assert kinds() == ()
    assert not all_likely(few.test.images, limits())
    assert np.abs(predictor.predict(few.test.images) - in_numpy(predictor, few.test.images)).max() < 1e-7


def test_a_library_of_another_version_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ModuleSpec("libc", None, origin=ctypes.util.find_library("c"))  # any library without our structures
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: libc)
    with pytest.warns(UserWarning, match="another version"):
        assert forward_module._library.__wrapped__() is None


def test_what_passes_the_quick_look_passes_the_close_one_and_most_digits_do(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kinds():
        pytest.skip(NOT_BUILT)
    digits = few.test.images
    moved = [np.roll(digits, steps, axis) for steps in (-3, -2, -1, 1, 2, 3) for axis in (1, 2)]
    images = np.concatenate([digits, digits // 8, 255 - digits, *moved])
    quick = [all_likely(image[None], LIKELY) for image in images]
    monkeypatch.setattr(forward_module, "_library", lambda: None)
    close = [found == () for found in input_warnings(images)]
    assert not any(passes and not ordinary for passes, ordinary in zip(quick, close, strict=True))
    assert np.mean(quick[: len(digits)]) > 0.9
    assert 0.1 < np.mean(quick) < np.mean(close) < 0.9


@pytest.mark.parametrize("place", [(0, 5), (27, 5), (5, 0), (5, 27)])
def test_the_quick_look_sees_a_lit_edge(place: tuple[int, int], few: DataSet) -> None:
    images = few.test.images[:3].copy()
    images[2][place] = 1
    assert not all_likely(images, limits())


@pytest.mark.parametrize(("axis", "step"), [(0, 1), (0, -1), (1, 1), (1, -1)])
def test_the_quick_look_measures_how_far_the_ink_is_from_the_middle(axis: int, step: int) -> None:
    if not kinds():
        pytest.skip(NOT_BUILT)
    image = np.zeros((28, 28), np.uint8)
    image[13:15, 13:15] = 200
    moved = np.roll(image, 3 * step, axis)[None]
    assert all_likely(moved, limits(least_total=800, most_offset=3))
    assert not all_likely(moved, limits(least_total=800, most_offset=2.99))
    assert not all_likely(moved, limits(least_total=801, most_offset=3))
