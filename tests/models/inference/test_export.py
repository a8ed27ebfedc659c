"""Weights in other forms hold the same network: ONNX by onnxruntime, npz by NumPy."""

from __future__ import annotations

import io
from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch

from models.checkpoint import Checkpoint, CheckpointMetadata
from models.data.mnist import DataSet
from models.inference.export import to_npz, to_onnx
from models.inference.predictor import Predictor
from models.network.architecture import Architecture
from models.spec import TrainSpec
from models.training.train import Training
from models.vocabulary import Activation, InputScaling


def checkpoint_of(activation: Activation, few: DataSet, inputs: InputScaling = "zero_to_one") -> Checkpoint:
    architecture = Architecture(hidden=(30, 20), activation=activation, inputs=inputs)
    spec = TrainSpec(architecture=architecture, epochs=1, data="mnist_5k")
    training = Training([spec], few, torch.device("cpu"))
    training.run_epoch()
    weights = training.snapshot(0).weights
    metadata = CheckpointMetadata(spec=spec, epoch=1, final=True, data="mnist_5k", data_sha256="", weights_sha256="")
    return Checkpoint(weights, metadata)


@pytest.mark.parametrize("inputs", get_args(InputScaling))
@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_onnx_file_answers_in_onnxruntime_as_the_predictor_does(
    activation: Activation, inputs: InputScaling, few: DataSet
) -> None:
    checkpoint = checkpoint_of(activation, few, inputs)
    session = onnxruntime.InferenceSession(to_onnx(*checkpoint), providers=["CPUExecutionProvider"])
    images = few.test.images
    shares = images.reshape(-1, 784).astype(np.float32) / np.float32(255)
    (found,) = session.run(["probabilities"], {"images": shares})
    expected = Predictor.of(checkpoint).predict(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found.argmax(1) == expected.argmax(1)).all()
    assert session.get_modelmeta().custom_metadata_map["fanin"] == checkpoint.metadata.model_dump_json()


def test_exports_are_the_same_bytes_every_time(few: DataSet) -> None:
    checkpoint = checkpoint_of("gelu", few)
    assert to_onnx(*checkpoint) == to_onnx(*checkpoint)
    assert to_npz(checkpoint.weights) == to_npz(checkpoint.weights)


def test_the_npz_holds_the_arrays_by_name(few: DataSet) -> None:
    checkpoint = checkpoint_of("relu", few)
    with np.load(io.BytesIO(to_npz(checkpoint.weights)), allow_pickle=False) as arrays:
        assert set(arrays) == set(checkpoint.weights)
        for name, values in checkpoint.weights.items():
            np.testing.assert_array_equal(arrays[name], values)
