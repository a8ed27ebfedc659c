"""Schemes that depend on training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from models.errors import InvalidSpec
from models.init.base import Generators, Scheme
from models.network.inputs import scaled
from models.vocabulary import Real, Whole

if TYPE_CHECKING:
    import torch

    from models.network.mlp import Network


@final
class Lsuv(Scheme):
    """Layer-sequential unit-variance: orthogonal layers, each scaled until W h has variance 1."""

    title: ClassVar[str] = "LSUV"
    formula: ClassVar[str] = "W orthogonal, then W /= sqrt(Var W h) layer by layer until |Var W h - 1| < tol on a batch"
    formula_tex: ClassVar[str] = (
        r"W \leftarrow \frac{W}{\sqrt{\operatorname{Var} W h}} \text{ until } |\operatorname{Var} W h - 1| < \epsilon"
    )
    source: ClassVar[str] = "Mishkin, Matas 2016, All you need is a good init, algorithm 1"
    scheme: Literal["lsuv"] = "lsuv"
    tolerance: Real = Field(0.1, ge=0.001, le=0.5, description="Largest |Var W h - 1| that is accepted.")
    max_iterations: Whole = Field(10, ge=1, le=100, description="Largest number of times that one layer is scaled.")
    batch: Whole = Field(512, ge=64, le=10_000, description="Training images that the variance is measured on.")

    def probe_images(self) -> int:
        """Return the size of the batch."""
        return self.batch

    def fill(self, network: Network, generators: Generators, images: torch.Tensor | None = None) -> None:
        """Fill the network layer by layer, each by W h for the first `batch` images; biases are added behind it.

        Raises `InvalidSpec` if there are fewer images.
        """
        import torch
        from torch.nn.init import orthogonal_

        from models.network.activations import ACTIVATIONS

        if images is None or len(images) < self.batch:
            raise InvalidSpec(f"lsuv needs {self.batch} training images to measure on.")
        self.fill_biases(network, generators)
        forward = ACTIVATIONS[network.activation].forward
        h = scaled(images[: self.batch].float().div_(255.0), network.inputs)
        for layer in network.layers:
            orthogonal_(layer.weight, generator=generators.weights)
            for _ in range(self.max_iterations):
                variance = float((h @ layer.weight.t()).var())
                if abs(variance - 1) < self.tolerance or variance == 0:
                    break
                layer.weight.div_(variance**0.5)
            z = torch.addmm(layer.bias, h, layer.weight.t())
            h = torch.empty_like(z)
            forward(z, h)
