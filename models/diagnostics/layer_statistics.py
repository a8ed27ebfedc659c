"""Pass a batch of images through K networks, forward and backward, and take the statistics of their layers.

Every statistic is a tensor [K] on the device, NaN where it is undefined, so that a GPU computes without waiting for the
host; `models.diagnostics.measure` fetches them all at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diagnostics.gaussian_means import slopes
from models.diagnostics.statistics import (
    MAX_DECOMPOSED,
    firsts_differ,
    likeness,
    moments,
    quantiles,
    singular_values_of,
)
from models.network.activations import ACTIVATIONS
from models.network.inputs import scaled
from models.vocabulary import SCALED_TANH_LIMIT

if TYPE_CHECKING:
    from models.network.stack import NetworkStack

QUANTILE_VALUES = 32_768
QUANTILES = {"a_q02": 0.02, "a_q50": 0.5, "a_q98": 0.98}
OF_FIRST_IMAGE = ("weight_variance", "h_squares", "h_fourth_powers", "z_mean_square")
SATURATED = {
    "tanh": (-0.95, 0.95),
    "softsign": (-0.95, 0.95),
    "scaled_tanh": (-0.95 * SCALED_TANH_LIMIT, 0.95 * SCALED_TANH_LIMIT),
    "sigmoid": (0.05, 0.95),
}


@dataclass(frozen=True)
class StackPass:
    """The results of a forward and a backward pass of K networks, by layer: h [K, n, fan_in], z, a, dz [K, n, fan_out].

    The first h is [1, n, 784]: the images are the same for all. dz is the gradient of each image's own loss.
    `weight_gradients` [K, fan_out, fan_in] and `bias_gradients` [K, fan_out] are of the batch's mean loss [K].
    """

    h: list[Tensor]
    z: list[Tensor]
    a: list[Tensor]
    dz: list[Tensor]
    weight_gradients: list[Tensor]
    bias_gradients: list[Tensor]
    loss: Tensor

    def gradient_norm(self) -> Tensor:
        """Return the norm [K] of the gradient of all parameters."""
        gradients = (*self.weight_gradients, *self.bias_gradients)
        return sum((one.flatten(1).double().square().sum(1) for one in gradients), torch.zeros_like(self.loss)).sqrt()


def passed(stack: NetworkStack, shares: Tensor, labels: Tensor) -> StackPass:
    """Pass images, shares of ink [n, 784] in [0, 1], with their labels, int64 [n], through all networks and back."""
    kernels, last, count = ACTIVATIONS[stack.activation], len(stack.weights) - 1, len(stack)
    h, z, a = [scaled(shares, stack.inputs)[None]], [], []
    for number in range(last + 1):
        z.append(stack.preactivations(number, h[-1]))
        out = torch.empty_like(z[-1])
        if number < last:
            kernels.forward(z[-1].clone() if kernels.in_place else z[-1], out)
            h.append(out)
        a.append(out if number < last else z[-1])
    log_p = torch.log_softmax(z[-1], 2)
    of_labels = labels[None, :, None].expand(count, -1, -1)
    loss = -log_p.gather(2, of_labels).mean((1, 2))
    dz = [log_p.exp()]
    dz[0].scatter_add_(2, of_labels, torch.full_like(dz[0][:, :, :1], -1.0))
    for number in range(last, 0, -1):
        below = torch.matmul(dz[0], stack.weights[number])
        kernels.backward(below, z[number - 1], a[number - 1], below)
        dz.insert(0, below)
    images = len(labels)
    weight_gradients = [torch.matmul(own.transpose(1, 2), below) / images for own, below in zip(dz, h, strict=True)]
    return StackPass(h, z, a, dz, weight_gradients, [own.sum(1) / images for own in dz], loss.double())


@dataclass(frozen=True)
class LayerOfStack:
    """One layer of K networks in a pass; its methods return statistics [K] by name, those of `LayerDiagnostics`."""

    stack: NetworkStack
    seen: StackPass
    number: int

    @property
    def weight(self) -> Tensor:
        """Return the layer's weights [K, fan_out, fan_in]."""
        return self.stack.weights[self.number]

    @property
    def is_output(self) -> bool:
        """Return whether this is the output layer."""
        return self.number == len(self.stack.weights) - 1

    def weights(self) -> dict[str, Tensor]:
        """Return moments of the weights; `all_distinct` is not 0 where no two rows begin with the same entry."""
        of_weights = moments(self.weight)
        return {
            "weight_mean": of_weights.mean,
            "weight_std": of_weights.std,
            "weight_absmax": self.weight.flatten(1).abs().amax(1),
            "bias_absmax": self.stack.biases[self.number].abs().amax(1),
            "all_distinct": firsts_differ(self.weight),
        }

    def signals(self) -> dict[str, Tensor]:
        """Return moments, likeness and quantiles of z and a, and the shares of dead and of saturated units."""
        z, a = self.seen.z[self.number], self.seen.a[self.number]
        of_z, of_a, alike = moments(z), moments(a), likeness(z)
        statistics = {
            "z_mean": of_z.mean,
            "z_std": of_z.std,
            "z_rms": of_z.rms,
            "z_share": alike.share,
            "z_cosine": alike.cosine,
            "a_mean": of_a.mean,
            "a_std": of_a.std,
            "a_rms": of_a.rms,
        }
        statistics |= dict(zip(QUANTILES, quantiles(a, tuple(QUANTILES.values()), QUANTILE_VALUES).t(), strict=True))
        limits = SATURATED.get(self.stack.activation)
        if not self.is_output and self.stack.activation == "relu":
            statistics["dead_fraction"] = (a.amax(1) == 0).double().mean(1)
        if not self.is_output and limits is not None:
            statistics["saturated_fraction"] = ((a < limits[0]) | (a > limits[1])).double().mean((1, 2))
        return statistics

    def gradients(self) -> dict[str, Tensor]:
        """Return the sizes of the gradients."""
        return {
            "dz_rms": moments(self.seen.dz[self.number]).rms,
            "weight_gradient_std": self.seen.weight_gradients[self.number].flatten(1).std(1),
            "bias_gradient_std": self.seen.bias_gradients[self.number].std(1),
        }

    def of_first_image(self) -> dict[str, Tensor]:
        """Return what deviations from theory are computed from: of the weights, and of the first image's h and z."""
        squares = self.seen.h[self.number][:, 0].double().square()
        values = (
            self.weight.flatten(1).double().var(1),
            squares.sum(1),
            squares.square().sum(1),
            self.seen.z[self.number][:, 0].double().square().mean(1),
        )
        count = len(self.stack)  # the first layer's images are those of all networks
        return {name: value.expand(count) for name, value in zip(OF_FIRST_IMAGE, values, strict=True)}

    def change_since(self, before: NetworkStack) -> dict[str, Tensor]:
        """Return |W - W before| / |W before|; NaN if that was 0."""
        was = before.weights[self.number].flatten(1)
        size = was.norm(dim=1)
        change = (self.weight.flatten(1) - was).norm(dim=1) / size
        return {"update_ratio": change.masked_fill(size == 0, math.nan)}

    def singular_values(self) -> dict[str, Tensor]:
        """Return extreme singular values of W, and the mean one of diag(phi'(z)) W at the first image."""
        smaller = min(self.weight.shape[1:])
        if smaller > MAX_DECOMPOSED:
            return {}
        values = singular_values_of(self.weight)
        statistics = {"singular_min": values[:, 0], "singular_max": values[:, -1]}
        if not self.is_output:
            slope = slopes(self.stack.activation, self.seen.z[self.number][:, 0])
            jacobian = (slope[:, :, None] * self.weight).masked_fill((slope == 0)[:, :, None], 0.0)  # 0 inf is NaN
            if len(self.stack) == 1:  # rows of zeros add only singular values of zero, and take time
                jacobian = jacobian[:, slope[0] != 0]
            statistics["jacobian_singular_mean"] = singular_values_of(jacobian).sum(1) / smaller
        return statistics
