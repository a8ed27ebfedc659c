"""A deep belief network as a generator: Gibbs chains in its top machine, and the pictures that its layers make of them.

The top machine is undirected; the layers below it are read downwards, p(v = 1 | h) = sigmoid(b + W h) (Hinton,
Osindero, Teh 2006). Chains have binary units; the pixels of a picture are probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from models.pretrain.rbm import RBM

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Frame(NamedTuple):
    """The pictures of all chains after a number of Gibbs steps: uint8 [chains, 784]."""

    step: int
    pictures: Tensor


class BeliefNet:
    """The machines of one pre-training, from the images up."""

    def __init__(self, sizes: Sequence[int], tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """`sizes` are the units of the input and of every hidden layer; `tensors` those of a `PretrainSnapshot`."""
        cpu = torch.device("cpu")
        self.machines = [RBM(below, above, cpu) for below, above in pairwise(sizes)]
        for layer, machine in enumerate(self.machines):
            prefix = f"rbm.{layer}."
            machine.load({name.removeprefix(prefix): data for name, data in tensors.items() if name.startswith(prefix)})

    def chains(self, count: int, steps: int, every: int, stream: torch.Generator, images: Tensor | None) -> list[Frame]:
        """Return a frame before the first of `steps` Gibbs steps, after each `every` steps, and after the last.

        Chains start from `images`, uint8 [count, 784], as the hidden layers see them; without images, from units that
        are on with probability 1/2, so that the first frame shows noise.
        """
        top = self.machines[-1]
        if images is None:
            v = torch.bernoulli(torch.full((count, top.weight.shape[0]), 0.5), generator=stream)
        else:
            v = self._up(images.float() / 255, stream)
        frames = [Frame(0, self.picture(v, stream))]
        for step in range(1, steps + 1):
            h = torch.bernoulli(top.hidden_probabilities(v), generator=stream)
            probabilities = top.visible_probabilities(h)
            v = torch.bernoulli(probabilities, generator=stream)
            if step % every == 0 or step == steps:
                frames.append(Frame(step, self.picture(probabilities if len(self.machines) == 1 else v, stream)))
        return frames

    def reconstruction(self, images: Tensor) -> Tensor:
        """Return what is left of images, uint8 [n, 784], after one way up and down on probabilities; uint8 too."""
        h = images.float() / 255
        for machine in self.machines:
            h = machine.hidden_probabilities(h)
        for machine in reversed(self.machines):
            h = machine.visible_probabilities(h)
        return _grey(h)

    def picture(self, visible_of_top: Tensor, stream: torch.Generator) -> Tensor:
        """Return the pictures, uint8 [n, 784], of visible units of the top machine [n, units]."""
        v = visible_of_top
        for number, machine in reversed(list(enumerate(self.machines[:-1]))):
            v = machine.visible_probabilities(v)
            if number > 0:
                v = torch.bernoulli(v, generator=stream)
        return _grey(v)

    def log_weights(self, images: Tensor, machines: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return binary units below machine number `machines`, from 1, and the log of a weight of each image [n].

        Units h_l are drawn from Q(h_l | h_(l-1)), the machines read upwards, h_0 the binary images [n, 784]. The weight
        is prod_l P(h_(l-1) | h_l) / Q(h_l | h_(l-1)), P the machines read downwards, in float64. In the network of
        these machines log p(image) >= E [log weight + log p(units)], where p is the last machine's own distribution
        (Hinton, Osindero, Teh 2006, section 4; Salakhutdinov, Murray 2008, section 4).
        """
        h, total = images, torch.zeros(len(images), dtype=torch.float64)
        for machine in self.machines[: machines - 1]:
            drive = torch.addmm(machine.hidden_bias, h, machine.weight)
            above = torch.bernoulli(drive.sigmoid(), generator=stream)
            down = torch.addmm(machine.visible_bias, above, machine.weight.t())
            total += _log_p_of_bits(h, down) - _log_p_of_bits(above, drive)
            h = above
        return h, total

    def _up(self, images: Tensor, stream: torch.Generator) -> Tensor:
        h = images
        for machine in self.machines[:-1]:
            h = torch.bernoulli(machine.hidden_probabilities(h), generator=stream)
        return h


def _log_p_of_bits(bits: Tensor, drive: Tensor) -> Tensor:
    """Return log prod_i p_i(bit_i), p_i = sigmoid(drive_i), of each row, float64 [n]."""
    return (bits * drive - torch.nn.functional.softplus(drive)).sum(1, dtype=torch.float64)


def _grey(shares: Tensor) -> Tensor:
    return (shares * 255).round().to(torch.uint8)
