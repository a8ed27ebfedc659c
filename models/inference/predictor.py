"""Predict digits with a trained model, without torch: by the compiled forward pass if it was built, else in NumPy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint, CheckpointMetadata, Weights
from models.errors import OutputNotFinite
from models.inference.compiled_forward import Floats, forward_of, rows_of
from models.network.inputs import for_shares
from models.vocabulary import LEAKY_RELU_SLOPE, PIXELS, SCALED_TANH_LIMIT, SCALED_TANH_STEEPNESS, Activation

_SELU_SCALE = np.float32(1.0507009873554804934193349852946)
_SELU_ALPHA = np.float32(1.6732632423543772848170429916717)
_GELU_FACTOR = np.float32((2 / np.pi) ** 0.5)


def _sigmoid(z: Floats) -> Floats:
    # exp of minus the magnitude cannot overflow
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


def _selu(z: Floats) -> Floats:
    scaled: Floats = np.where(z > 0, z, _SELU_ALPHA * np.expm1(np.minimum(z, 0)))
    scaled *= _SELU_SCALE
    return scaled


def _scaled_tanh(z: Floats) -> Floats:
    z *= np.float32(SCALED_TANH_STEEPNESS)
    np.tanh(z, out=z)
    z *= np.float32(SCALED_TANH_LIMIT)
    return z


def _gelu_tanh(z: Floats) -> Floats:
    inner: Floats = 1 + np.tanh(_GELU_FACTOR * (z + np.float32(0.044715) * z**3))
    inner *= z
    inner *= np.float32(0.5)
    return inner


_ACTIVATIONS: dict[Activation, Callable[[Floats], Floats]] = {
    "relu": lambda z: np.maximum(z, 0, out=z),
    "tanh": lambda z: np.tanh(z, out=z),
    "scaled_tanh": _scaled_tanh,
    "sigmoid": _sigmoid,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "leaky_relu": lambda z: np.where(z > 0, z, np.float32(LEAKY_RELU_SLOPE) * z),
    "selu": _selu,
    "gelu": _gelu_tanh,
    "identity": lambda z: z,
}


class Predictor:
    """A loaded model that maps digits to probabilities.

    It uses the compiled forward pass, or NumPy if `compiled` is false or `forward_of` returns None.
    """

    def __init__(self, weights: Weights, metadata: CheckpointMetadata, *, compiled: bool = True) -> None:
        self.metadata = metadata
        activation = metadata.spec.architecture.activation
        layers = rows_of(for_shares(weights, metadata.spec.architecture.inputs))
        self.memory_bytes = sum(layer.values.nbytes for layer in layers)
        """The size of the weights."""
        self._forward = forward_of(layers, activation) if compiled else None
        self._layers = [(layer.weight, layer.bias) for layer in layers]
        self._activation = _ACTIVATIONS[activation]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """Return the predictor of a checkpoint."""
        return cls(checkpoint.weights, checkpoint.metadata)

    def predict(self, images: NDArray[np.uint8]) -> Floats:
        """Return probabilities float32 [n, 10] for images uint8 [n, 28, 28], 0 background and 255 ink.

        p = softmax(network(images / 255)). Rows sum to 1 within float32. Raises `OutputNotFinite`.
        """
        pixels = images.reshape(len(images), PIXELS)
        if self._forward is not None:
            return _checked(*self._forward.probabilities(pixels))
        inputs = pixels.astype(np.float32)
        inputs /= np.float32(255)
        return self.predict_inputs(inputs)

    def predict_inputs(self, inputs: Floats) -> Floats:
        """Return the same as `predict`, for inputs float32 [n, 784] in [0, 1].

        Raises `OutputNotFinite`.
        """
        if self._forward is not None:
            return _checked(*self._forward.probabilities(inputs))
        with np.errstate(over="ignore", invalid="ignore"):
            probabilities = self._softmax(inputs)
        return _checked(probabilities, bool(np.isfinite(probabilities.sum())))

    def activations(self, image: NDArray[np.uint8]) -> list[Floats]:
        """Return what each layer makes of an image uint8 [28, 28]: its inputs, activations, and logits, [units] each.

        The first are the image's levels / 255. Always in NumPy. Raises `OutputNotFinite`.
        """
        inputs: Floats = image.reshape(1, PIXELS).astype(np.float32) / np.float32(255)
        with np.errstate(over="ignore", invalid="ignore"):
            layers = [inputs[0], *(h[0] for h in self._passed(inputs))]
        _checked(layers[-1], all(bool(np.isfinite(values).all()) for values in layers))
        return layers

    def incoming(self, layer: int, units: NDArray[np.int64]) -> Floats:
        """Return the weights [fan_in, len(units)] that lead into some units of a layer; layers are counted from 1."""
        weights: Floats = self._layers[layer - 1][0][:, units]
        return weights

    def _passed(self, inputs: Floats) -> Iterator[Floats]:
        """Yield the activations of each hidden layer, and the logits."""
        h = inputs
        for weight, bias in self._layers[:-1]:
            z = np.dot(h, weight)
            z += bias
            h = self._activation(z)
            yield h
        weight, bias = self._layers[-1]
        logits: Floats = np.dot(h, weight)
        logits += bias
        yield logits

    def _softmax(self, inputs: Floats) -> Floats:
        (logits,) = deque(self._passed(inputs), maxlen=1)  # no layer outlives the next one
        return softmax_in_place(logits)


def softmax_in_place(logits: Floats) -> Floats:
    """Return exp(z) / sum(exp(z)) of each row of logits [n, 10], which are overwritten."""
    logits -= np.maximum.reduce(logits, axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= np.add.reduce(logits, axis=1, keepdims=True)
    return logits


def _checked(probabilities: Floats, finite: bool) -> Floats:
    if not finite:
        raise OutputNotFinite(
            "This model's outputs overflow float32: its weights are too large, or its training diverged.",
            "Predict with another epoch, or train with a smaller initial scale or learning rate.",
        )
    return probabilities
