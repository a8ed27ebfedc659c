"""The activations and their derivatives, each as one kernel of torch that writes into a given buffer.

`forward(z, out)` may be called with `out` = `z` where `in_place` is true. `backward(dh, z, h, out)` turns the gradient
of the activation's output into that of its input. It reads `h` only where `in_place` is true, since z is then
overwritten. The formulas are torch's own backward kernels, called without the autograd graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from models.vocabulary import LEAKY_RELU_SLOPE, SCALED_TANH_LIMIT, SCALED_TANH_STEEPNESS, Activation

aten = torch.ops.aten


class ActivationKernels(NamedTuple):
    """One activation; see the module's docstring."""

    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor, Tensor], object]
    in_place: bool


SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def _selu_forward(z: Tensor, out: Tensor) -> None:
    aten.elu.out(z, SELU_ALPHA, SELU_SCALE, 1.0, out=out)


def _selu_backward(dh: Tensor, _z: Tensor, h: Tensor, out: Tensor) -> None:
    aten.elu_backward.grad_input(dh, SELU_ALPHA, SELU_SCALE, 1.0, True, h, grad_input=out)


def _scaled_tanh_forward(z: Tensor, out: Tensor) -> None:
    torch.mul(z, SCALED_TANH_STEEPNESS, out=out).tanh_().mul_(SCALED_TANH_LIMIT)


def _scaled_tanh_backward(dh: Tensor, _z: Tensor, h: Tensor, out: Tensor) -> None:
    # d/dz a tanh(b z) = a b (1 - tanh^2) = a b - (b / a) h^2
    slope = h.square().mul_(-SCALED_TANH_STEEPNESS / SCALED_TANH_LIMIT).add_(SCALED_TANH_LIMIT * SCALED_TANH_STEEPNESS)
    torch.mul(dh, slope, out=out)


def _softsign_forward(z: Tensor, out: Tensor) -> None:
    torch.div(z, z.abs().add_(1.0), out=out)


def _softsign_backward(dh: Tensor, _z: Tensor, h: Tensor, out: Tensor) -> None:
    # d/dz z/(1+|z|) = 1/(1+|z|)^2 = (1-|h|)^2
    torch.mul(dh, h.abs().neg_().add_(1.0).square_(), out=out)


def _leaky_relu_forward(z: Tensor, out: Tensor) -> None:
    aten.leaky_relu.out(z, LEAKY_RELU_SLOPE, out=out)


def _leaky_relu_backward(dh: Tensor, _z: Tensor, h: Tensor, out: Tensor) -> None:
    aten.leaky_relu_backward.grad_input(dh, h, LEAKY_RELU_SLOPE, True, grad_input=out)


ACTIVATIONS: dict[Activation, ActivationKernels] = {
    "relu": ActivationKernels(
        lambda z, out: torch.clamp_min(z, 0.0, out=out),
        lambda dh, _z, h, out: aten.threshold_backward.grad_input(dh, h, 0.0, grad_input=out),
        in_place=True,
    ),
    "tanh": ActivationKernels(
        lambda z, out: torch.tanh(z, out=out),
        lambda dh, _z, h, out: aten.tanh_backward.grad_input(dh, h, grad_input=out),
        in_place=True,
    ),
    "scaled_tanh": ActivationKernels(_scaled_tanh_forward, _scaled_tanh_backward, in_place=True),
    "sigmoid": ActivationKernels(
        lambda z, out: torch.sigmoid(z, out=out),
        lambda dh, _z, h, out: aten.sigmoid_backward.grad_input(dh, h, grad_input=out),
        in_place=True,
    ),
    "softsign": ActivationKernels(_softsign_forward, _softsign_backward, in_place=True),
    "leaky_relu": ActivationKernels(_leaky_relu_forward, _leaky_relu_backward, in_place=True),
    "selu": ActivationKernels(_selu_forward, _selu_backward, in_place=True),
    "gelu": ActivationKernels(
        lambda z, out: aten.gelu.out(z, approximate="tanh", out=out),
        lambda dh, z, _h, out: aten.gelu_backward.grad_input(dh, z, approximate="tanh", grad_input=out),
        in_place=False,
    ),
    "identity": ActivationKernels(
        lambda z, out: out if out is z else out.copy_(z),
        lambda dh, _z, _h, out: out if out is dh else out.copy_(dh),
        in_place=True,
    ),
}
