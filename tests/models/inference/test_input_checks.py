"""Warnings of images that are unlikely to be a digit: none on real ones, and each on its counter-examples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.data.mnist import DataSet
from models.inference.input_checks import WARNING_TEXT, InputWarning, input_warnings

Images = NDArray[np.uint8]


def share(images: Images, kind: InputWarning) -> float:
    return float(np.mean([kind in found for found in input_warnings(images)]))


def resized(images: Images, side: int) -> Images:
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in images])


def test_no_training_or_test_digit_of_mnist_is_warned_of(mnist: DataSet) -> None:
    for digits in (mnist.train, mnist.test):
        assert [found for found in input_warnings(digits.images) if found] == []


def test_the_5000_digits_are_not_warned_of(five_thousand: DataSet) -> None:
    assert not any(input_warnings(five_thousand.test.images))


def test_blank_images_are_seen() -> None:
    for level in (0, 1):
        assert input_warnings(np.full((1, 28, 28), level, np.uint8)) == [("blank",)]


def test_dark_ink_on_light_paper_is_seen(five_thousand: DataSet) -> None:
    assert share(255 - five_thousand.test.images, "dark_on_light") == 1.0


def test_a_digit_moved_by_four_pixels_is_off_centre(five_thousand: DataSet) -> None:
    for axis in (1, 2):  # MNIST keeps four pixels free, so that nothing is cut off
        moved = np.roll(five_thousand.test.images, 4, axis=axis)
        assert share(moved, "off_centre") > 0.95  # measured .966


def test_a_digit_that_fills_the_frame_is_seen(five_thousand: DataSet) -> None:
    large = resized(five_thousand.test.images[:, 4:24, 4:24], 28)
    assert share(large, "fills_the_frame") > 0.4  # measured .49: a 1 is narrow


@pytest.mark.parametrize("lit_share", [0.05, 0.2, 1.0])
def test_noise_is_seen(lit_share: float) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (200, 28, 28)) * (random.random((200, 28, 28)) < lit_share)
    assert share(noise.astype(np.uint8), "noise") > 0.97  # .95^108 = .4 % of the first kind light no pixel of the edge


def test_digits_under_noise_are_seen(five_thousand: DataSet) -> None:
    images = five_thousand.test.images
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 60, images.shape), 0, 255).astype(np.uint8)
    assert share(noisy, "noise") > 0.95


def test_digits_in_black_and_white_are_not_warned_of(five_thousand: DataSet) -> None:
    sharp = ((five_thousand.test.images > 127) * 255).astype(np.uint8)
    assert share(sharp, "noise") + share(sharp, "off_centre") < 0.01


def test_every_warning_has_a_meaning() -> None:
    assert all(WARNING_TEXT[kind] for kind in ("blank", "dark_on_light", "off_centre", "fills_the_frame", "noise"))
