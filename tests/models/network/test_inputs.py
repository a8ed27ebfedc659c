"""What a first layer receives for an image, and the same network for shares of ink."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.network.inputs import for_shares, scaled


def test_standardized_pixels_have_mean_0_and_variance_1_over_mnist(mnist: DataSet) -> None:
    pixels = scaled(torch.tensor(mnist.train.images).float() / 255, "standardized")
    assert float(pixels.mean()) == pytest.approx(0, abs=2e-4)  # .1307 and .3081 are rounded to four digits
    assert float(pixels.std()) == pytest.approx(1, abs=2e-4)


def test_shares_of_ink_are_left_as_they_are(few: DataSet) -> None:
    shares = few.test.images.reshape(-1, 784).astype(np.float32) / np.float32(255)
    weights = {"layers.0.weight": np.ones((2, 784), np.float32), "layers.0.bias": np.zeros(2, np.float32)}
    assert scaled(shares, "zero_to_one") is shares
    assert for_shares(weights, "zero_to_one") is weights


def test_the_weights_for_shares_make_the_same_of_every_image(few: DataSet) -> None:
    numbers = np.random.default_rng(1)
    weights = {
        "layers.0.weight": numbers.normal(size=(30, 784)).astype(np.float32),
        "layers.0.bias": numbers.normal(size=30).astype(np.float32),
        "layers.1.weight": numbers.normal(size=(10, 30)).astype(np.float32),
        "layers.1.bias": numbers.normal(size=10).astype(np.float32),
    }
    before = {name: values.copy() for name, values in weights.items()}
    found = for_shares(weights, "standardized")
    shares = few.test.images.reshape(-1, 784) / 255.0
    expected = (shares - 0.1307) / 0.3081 @ before["layers.0.weight"].astype(np.float64).T + before["layers.0.bias"]
    z = shares @ found["layers.0.weight"].astype(np.float64).T + found["layers.0.bias"]
    # 784 weights of about 3.2, rounded to 6e-8 of themselves, on pixels of at most 1
    assert np.abs(z - expected).max() < 784 * 15 * 6e-8
    assert found["layers.0.weight"].dtype == found["layers.0.bias"].dtype == np.float32
    assert all(np.array_equal(weights[name], before[name]) for name in weights)
    assert found["layers.1.weight"] is weights["layers.1.weight"]
