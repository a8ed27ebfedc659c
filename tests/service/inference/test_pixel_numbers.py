"""Numbers in the shapes and ranges that libraries write."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.data.mnist import DataSet
from models.errors import InvalidImage
from service.inference.image_decoding import read_unwrapped, unwrap
from service.inference.images import ReadImages
from service.inference.query import PredictQuery


def of_json(array: Any, **options: Any) -> ReadImages:
    return read_unwrapped(unwrap(json.dumps(array.tolist()).encode(), "", PredictQuery(**options)))


def of_npy(array: Any, **options: Any) -> ReadImages:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return read_unwrapped(unwrap(buffer.getvalue(), "", PredictQuery(**options)))


SHAPES = [
    ((28, 28), False),
    ((784,), False),
    ((28, 28, 1), False),
    ((1, 28, 28), True),
    ((1, 1, 28, 28), True),
    ((2, 28, 28), True),
    ((2, 784), True),
    ((2, 1, 28, 28), True),
    ((2, 28, 28, 1), True),
]


@pytest.mark.parametrize(("shape", "batch"), SHAPES)
@pytest.mark.parametrize("read", [of_json, of_npy], ids=["json", "npy"])
def test_the_shapes_of_torch_and_keras_are_read(
    shape: tuple[int, ...], batch: bool, read: Callable[..., ReadImages], few: DataSet
) -> None:
    digits = few.test.images[: 2 if shape[0] == 2 else 1]
    found = read(digits.reshape(shape))
    assert np.array_equal(found.images, digits)
    assert found.batch == batch


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.05), (-0.05, 1.0), (-0.03, 1.02)])
@pytest.mark.parametrize("read", [of_json, of_npy], ids=["json", "npy"])
def test_shares_that_overshoot_a_little_are_clipped_and_it_is_said(
    low: float, high: float, read: Callable[..., ReadImages], few: DataSet
) -> None:
    digit = few.test.images[0]
    shares = np.where(digit == 255, high, np.where(digit == 0, low, digit / 255))
    found = read(shares)
    assert np.array_equal(found.images[0], digit)
    assert (found.scale, found.clipped) == ("0-1", True)
    assert not read(digit / 255).clipped


def test_pixels_normalized_by_mnists_mean_and_deviation_are_recognized(few: DataSet) -> None:
    digits = few.test.images[:20]
    for dtype in (np.float32, np.float64):
        found = of_npy(((digits / 255 - 0.1307) / 0.3081).astype(dtype))
        assert np.array_equal(found.images, digits)
        assert found.scale == "mnist-normalized"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x / 127.5 - 1, "they look normalized, .x - .5. / .5"),
        (lambda x: x / 255 - 0.2, "must be in 0..255"),
        (lambda x: x * 2.0, "must be in 0..255"),
        (lambda x: x * 257.0, "must be in 0..255"),
    ],
)
def test_other_ranges_are_refused_and_named(change: Callable[[Any], Any], says: str, few: DataSet) -> None:
    with pytest.raises(InvalidImage, match=says):
        of_json(change(few.test.images[0].astype(float)))


@pytest.mark.parametrize("shape", [(28, 0), (0, 28, 28), (0,), (2, 0, 28)])
@pytest.mark.parametrize("fit", [False, True])
def test_an_array_without_pixels_is_refused(shape: tuple[int, ...], fit: bool) -> None:
    with pytest.raises(InvalidImage):
        of_npy(np.zeros(shape), fit=fit)


def test_an_object_of_thousands_of_keys_is_refused_at_once() -> None:
    body = json.dumps({"pixels": [0] * 784} | {f"k{number}": 1 for number in range(10_000)}).encode()
    with pytest.raises(InvalidImage, match="has 10001 keys"):
        unwrap(body, "", PredictQuery())


def test_rows_of_784_are_digits_also_with_fit(few: DataSet) -> None:
    for read in (of_json, of_npy):
        assert len(read(few.test.images[:3].reshape(3, 784), fit=True).images) == 3


@pytest.mark.parametrize("colours", [3, 4])
def test_an_array_of_colours_is_named(colours: int, few: DataSet) -> None:
    with pytest.raises(InvalidImage, match="look like colours"):
        of_npy(np.repeat(few.test.images[0][..., None], colours, axis=2), fit=True)


def test_an_array_of_bool_is_ink_or_none(few: DataSet) -> None:
    found = of_npy(few.test.images[0] > 127)
    assert np.array_equal(found.images[0] == 255, few.test.images[0] > 127)
    assert found.scale == "0-1"


def test_keys_without_pixels_are_named_and_texts_too() -> None:
    with pytest.raises(InvalidImage, match=r"has no pixels \(it has instances\)"):
        unwrap(b'{"instances": [1]}', "", PredictQuery())
    with pytest.raises(InvalidImage, match="several texts"):
        read_unwrapped(unwrap(b'{"images": ["a", "b"]}', "", PredictQuery()))
