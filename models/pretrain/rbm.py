"""A restricted Boltzmann machine with binary units, trained by contrastive divergence.

Energy of visible v [n] and hidden h [m], with weights W [n, m] and biases b [n], c [m]:

    E(v, h) = -b.v - c.h - v W h
    p(h_j = 1 | v) = sigmoid(c + v W)_j,  p(v_i = 1 | h) = sigmoid(b + W h)_i
    F(v) = -log sum_h exp -E(v, h) = -b.v - sum_j softplus(c + v W)_j

CD-k (Hinton 2002) follows <v h>_data - <v h>_k. Real-valued pixels in [0, 1] are read as probabilities. Binary samples
of the hidden units drive the visible ones. With k = 1 the reconstruction stays probabilities (Hinton 2010, A practical
guide to training restricted Boltzmann machines, section 3). With k > 1 every reconstruction is sampled: a last one of
probabilities is a step that the machine does not take, and keeps a large k away from the gradient of the likelihood
(`samples_last` false does it all the same). The last hidden pass and the statistics of the data use probabilities,
which have the same mean as samples and less noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

MAX_BIAS = 4.0
TENSORS = ("weight", "visible_bias", "hidden_bias", "weight_velocity", "visible_velocity", "hidden_velocity")


class CdStep(NamedTuple):
    """How a step of CD-k is taken: `k`, learning rate, momentum, and the L2 penalty on the weights."""

    k: int
    lr: float
    momentum: float
    weight_decay: float


@dataclass
class _Buffers:
    """Intermediates of one batch size B: visible ones [B, n], hidden ones [B, m]."""

    reconstruction: Tensor
    visible_sample: Tensor
    hidden: Tensor
    sample: Tensor
    hidden_again: Tensor


class RBM:
    """One machine with its momentum, on a device; all tensors float32."""

    def __init__(self, visible: int, hidden: int, device: torch.device, *, samples_last: bool = True) -> None:
        """`samples_last` says whether the last visible step of CD-k with k > 1 is sampled; see the module."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device)

        self.weight, self.weight_velocity = zeros(visible, hidden), zeros(visible, hidden)
        self.visible_bias, self.visible_velocity = zeros(visible), zeros(visible)
        self.hidden_bias, self.hidden_velocity = zeros(hidden), zeros(hidden)
        self._samples_last = samples_last
        self._buffers: dict[int, _Buffers] = {}

    def start(self, weight_std: float, mean_visible: Tensor, stream: torch.Generator) -> None:
        """Draw W ~ N(0, weight_std^2) from a CPU generator; b_i = log(p_i / (1 - p_i)) within +-4; c = 0.

        `mean_visible` [n] is p, the mean of each visible unit over the data (Hinton 2010, section 8).
        """
        self.weight.copy_(torch.empty(self.weight.shape).normal_(0.0, weight_std, generator=stream))
        self.visible_bias.copy_(torch.logit(mean_visible.double()).clamp(-MAX_BIAS, MAX_BIAS))

    def hidden_probabilities(self, visible: Tensor, out: Tensor | None = None) -> Tensor:
        """Return p(h = 1 | v) [B, m] for v [B, n]."""
        return torch.addmm(self.hidden_bias, visible, self.weight, out=out).sigmoid_()

    def visible_probabilities(self, hidden: Tensor, out: Tensor | None = None) -> Tensor:
        """Return p(v = 1 | h) [B, n] for h [B, m]."""
        return torch.addmm(self.visible_bias, hidden, self.weight.t(), out=out).sigmoid_()

    def free_energy(self, visible: Tensor) -> Tensor:
        """Return F(v) [B] in nats, for v [B, n]."""
        inner = torch.addmm(self.hidden_bias, visible, self.weight)
        return -(visible @ self.visible_bias) - torch.nn.functional.softplus(inner).sum(1)

    def step(self, visible: Tensor, options: CdStep, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Take one CD-k step on a batch [B, n]; return p(v | h) of its last step [B, n] and p(h | data) [B, m].

        velocity = momentum velocity + lr ((<v h>_data - <v h>_k) / B - weight_decay W); the decay is on W alone. The
        next step overwrites the returned tensors. `stream` is on the machine's device.
        """
        buffers, batch, k = self._buffers_for(len(visible)), len(visible), options.k
        hidden = self.hidden_probabilities(visible, out=buffers.hidden)
        driving, rebuilt = hidden, buffers.reconstruction
        for number in range(k):
            _sample(driving, stream, out=buffers.sample)
            self.visible_probabilities(buffers.sample, out=buffers.reconstruction)
            rebuilt = buffers.reconstruction
            if number < k - 1 or (k > 1 and self._samples_last):
                rebuilt = buffers.visible_sample
                _sample(buffers.reconstruction, stream, out=rebuilt)
            driving = self.hidden_probabilities(rebuilt, out=buffers.hidden_again)
        rate, momentum = options.lr / batch, options.momentum
        self.weight_velocity.addmm_(visible.t(), hidden, beta=momentum, alpha=rate)
        self.weight_velocity.addmm_(rebuilt.t(), driving, alpha=-rate)
        self.weight_velocity.add_(self.weight, alpha=-options.lr * options.weight_decay)
        self.visible_velocity.mul_(momentum).add_(visible.sum(0), alpha=rate).sub_(rebuilt.sum(0), alpha=rate)
        self.hidden_velocity.mul_(momentum).add_(hidden.sum(0), alpha=rate).sub_(driving.sum(0), alpha=rate)
        self.weight.add_(self.weight_velocity)
        self.visible_bias.add_(self.visible_velocity)
        self.hidden_bias.add_(self.hidden_velocity)
        return buffers.reconstruction, hidden

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of all tensors on the CPU, by name."""
        return {name: tensor.to("cpu", copy=True).numpy() for name, tensor in self.tensors().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a step changes, by name: parameters and velocities, not copies."""
        return {name: getattr(self, name) for name in TENSORS}

    def load(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Continue from what `state` returned."""
        for name in TENSORS:
            getattr(self, name).copy_(torch.from_numpy(state[name].copy()))

    def _buffers_for(self, batch: int) -> _Buffers:
        if batch not in self._buffers:
            visible, hidden = self.weight.shape
            make = self.weight.new_empty
            self._buffers[batch] = _Buffers(
                *(make((batch, visible)) for _ in range(2)), *(make((batch, hidden)) for _ in range(3))
            )
        return self._buffers[batch]


def bernoulli_kl(actual: Tensor, recreated: Tensor) -> Tensor:
    """Return the sum over images and units of KL(x, r) = x log(x / r) + (1 - x) log((1 - x) / (1 - r)), in nats.

    Both are probabilities [B, n]; r is kept within 1e-6 of 0 and 1, where a float32 sigmoid may end.
    """
    r = recreated.clamp(1e-6, 1 - 1e-6)
    of_bits: Tensor = torch.special.xlogy(actual, actual / r) + torch.special.xlogy(1 - actual, (1 - actual) / (1 - r))
    return of_bits.sum()


def _sample(probabilities: Tensor, stream: torch.Generator, *, out: Tensor) -> None:
    """Write 1 with these probabilities, else 0; `out` may be the probabilities themselves.

    bernoulli_ is not used: it raises if the machine diverged (NaN), which on a GPU ends the whole process.
    """
    noise = torch.empty_like(out) if out is probabilities else out
    torch.lt(noise.uniform_(generator=stream), probabilities, out=out)
