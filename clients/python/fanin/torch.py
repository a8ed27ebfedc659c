"""A model as a network of torch: `fanin.torch.load(model)`."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from fanin.safetensors import tensors_in

LEAKY_RELU_SLOPE = 0.01


class Standardized(torch.nn.Module):
    """(x - .1307) / .3081, with mean 0 and variance 1 over MNIST's training images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the first layer, of the shape of `x`."""
        return (x - 0.1307) / 0.3081


class ScaledTanh(torch.nn.Module):
    """1.7159 tanh(2 z / 3) (LeCun et al. 1998, Efficient BackProp)."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return the activations, of the shape of `z`."""
        return 1.7159 * torch.tanh(2 / 3 * z)


ACTIVATIONS: dict[str, Any] = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "scaled_tanh": ScaledTanh,
    "sigmoid": torch.nn.Sigmoid,
    "softsign": torch.nn.Softsign,
    "leaky_relu": lambda: torch.nn.LeakyReLU(LEAKY_RELU_SLOPE),
    "selu": torch.nn.SELU,
    "gelu": lambda: torch.nn.GELU(approximate="tanh"),
    "identity": torch.nn.Identity,
}


class HasWeights(Protocol):
    """A model of the synchronous client: `fanin.models.get(...)`, `job.model()`."""

    spec: Any

    def weights(self) -> bytes:
        """Return the file of its weights, as safetensors."""


def load(model: HasWeights) -> torch.nn.Sequential:
    """Return the model as a `torch.nn.Sequential` with its weights, in evaluation mode, on the CPU.

    It maps images float32 [n, 28, 28] or [n, 784] in [0, 1], 0 background and 1 ink, to logits [n, 10]; softmax of them
    are the probabilities of the service.
    """
    tensors = {
        name: torch.frombuffer(bytearray(content), dtype=torch.float32).reshape(shape)
        for name, shape, content in tensors_in(model.weights())
    }
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    if model.spec.architecture.to_dict().get("inputs") == "standardized":  # a service of before has no such field
        layers.append(Standardized())
    count = len(tensors) // 2
    for number in range(count):
        weight, bias = tensors[f"layers.{number}.weight"], tensors[f"layers.{number}.bias"]
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        layers.append(linear)
        if number < count - 1:
            layers.append(ACTIVATIONS[model.spec.architecture.activation]())
    return torch.nn.Sequential(*layers).eval()
