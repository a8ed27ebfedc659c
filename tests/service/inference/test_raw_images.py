"""Raw bytes are one digit, or what ?shape= says; other lengths are refused with their likely cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.data.mnist import DataSet
from models.errors import InvalidImage
from service.inference.images import Pixels
from service.inference.raw_images import read_raw

LIKELY: dict[str, tuple[Callable[[Pixels], Any], str]] = {
    "float32": (lambda x: (x / 255).astype("<f4"), "look like float32"),
    "float32 levels": (lambda x: x.astype("<f4"), "look like float32"),
    "float32 normalized": (lambda x: ((x / 255 - 0.1307) / 0.3081).astype("<f4"), "look like float32"),
    "float64": (lambda x: (x / 255).astype("<f8"), "look like float64"),
    "uint16": (lambda x: x.astype("<u2") * 257, "of 16 bits"),
    "12 bits": (lambda x: x.astype("<u2") * 16, "of 16 bits"),
    "big-endian": (lambda x: x.astype(">u2") * 257, "of 16 bits"),
    "RGB": (lambda x: np.repeat(x[..., None], 3, axis=-1), "look like RGB pixels"),
    "RGBA": (lambda x: np.dstack([255 - x] * 3 + [np.full_like(x, 255)]), "look like RGBA pixels"),
    "56x56": (lambda x: np.kron(x, np.ones((2, 2), np.uint8)), "picture of 56x56"),
    "32x32": (lambda x: np.pad(x, 2), "look like a picture of 32x32"),
    "two digits": (lambda x: np.stack([x, x]), "could be 2 digits"),
    "cut off": (lambda x: x.ravel()[:-1], "no multiple of 784"),
}


@pytest.mark.parametrize("kind", LIKELY)
def test_another_length_is_refused_with_its_likely_cause(kind: str, few: DataSet) -> None:
    make, says = LIKELY[kind]
    for digit in few.test.images[:50]:
        for fit in (False, True):
            with pytest.raises(InvalidImage, match=says) as caught:
                read_raw(np.ascontiguousarray(make(digit)).tobytes(), None, fit=fit)
            assert caught.value.hint


@pytest.mark.parametrize("shape", ["3,28,28", "3,784", "3,1,28,28", "3,28,28,1"])
def test_a_shape_says_that_bytes_are_several_digits(shape: str, few: DataSet) -> None:
    read = read_raw(few.test.images[:3].tobytes(), shape, fit=False)
    assert np.array_equal(read.images, few.test.images[:3])
    assert read.batch


@pytest.mark.parametrize("shape", ["28,28", "784"])
def test_a_shape_may_say_that_bytes_are_one_digit(shape: str, few: DataSet) -> None:
    read = read_raw(few.test.images[0].tobytes(), shape, fit=False)
    assert np.array_equal(read.images, few.test.images[:1])
    assert not read.batch


def test_a_shape_with_fit_may_be_of_another_size(few: DataSet) -> None:
    large = np.kron(few.test.images[0], np.ones((2, 2), np.uint8))
    assert read_raw(large.tobytes(), "56,56", fit=True).images.shape == (1, 28, 28)
    with pytest.raises(InvalidImage, match=r"56,56 is not n,28,28"):
        read_raw(large.tobytes(), "56,56", fit=False)


@pytest.mark.parametrize(
    ("shape", "says"), [("2,28,28", "has 1568 bytes; the body has 784"), ("999999,999999", "the body has 784")]
)
def test_a_shape_of_other_bytes_is_refused(shape: str, says: str) -> None:
    with pytest.raises(InvalidImage, match=says):
        read_raw(bytes(784), shape, fit=False)
