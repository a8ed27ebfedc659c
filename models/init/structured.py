"""Schemes whose entries depend on each other: orthogonal rows, and sparse connections."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from models.init.base import GAIN_DESCRIPTION, Gain, Scheme, resolved_gain, smallest_fan_in
from models.vocabulary import Real, Whole

if TYPE_CHECKING:
    import torch


@final
class Orthogonal(Scheme):
    """Rows (or columns) at right angles: a square layer keeps every length, up to the gain."""

    title: ClassVar[str] = "Orthogonal"
    formula: ClassVar[str] = "W = g Q, Q from the QR decomposition of a Gaussian matrix; Var W = g^2 / max(n, m)"
    formula_tex: ClassVar[str] = r"W = g\,Q, \quad QR = G,\; G_{ij} \sim \mathcal{N}(0, 1), \quad Q^\top Q = I"
    source: ClassVar[str] = (
        "Saxe, McClelland, Ganguli 2013, Exact solutions to the nonlinear dynamics of learning in deep linear networks"
    )
    scheme: Literal["orthogonal"] = "orthogonal"
    gain: Gain = Field(1.0, description=GAIN_DESCRIPTION)

    def weight_variance(self, fan_in: int, fan_out: int, activation: str) -> float:
        """Return g^2 / max(n, m)."""
        return resolved_gain(self.gain, activation) ** 2 / max(fan_in, fan_out)

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Set W = g Q, uniform over the orthogonal matrices (columns of Q times the sign of R's diagonal)."""
        from torch.nn.init import orthogonal_

        orthogonal_(weight, resolved_gain(self.gain, activation), generator=stream)


@final
class SparseTorch(Scheme):
    """Gaussian weights, most of them replaced by 0, an equal share for every input."""

    title: ClassVar[str] = "Sparse, as torch has it"
    formula: ClassVar[str] = "of each input's m weights, ceil(s m) are 0, the rest N(0, std^2)"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{N}(0, \sigma^2), \quad \lceil s\,m \rceil \text{ per column } = 0"
    )
    source: ClassVar[str] = "torch.nn.init.sparse_, after Martens 2010; see sparse_martens for the paper's own rule"
    scheme: Literal["sparse_torch"] = "sparse_torch"
    sparsity: Real = Field(0.9, ge=0, lt=1, description="Share s of zeros among the weights of an input, 0 <= s < 1.")
    std: Real = Field(0.01, gt=0, le=10, description="Standard deviation of the others.")

    def weight_variance(self, fan_in: int, fan_out: int, activation: str) -> float:
        """Return (1 - ceil(s m) / m) std^2."""
        return (1 - math.ceil(self.sparsity * fan_out) / fan_out) * self.std**2

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw W ~ N(0, std^2) and set ceil(s m) entries of each column to 0.

        torch.nn.init.sparse_ is not used: it picks the places from torch's global generator, even if it is given
        another.
        """
        import torch

        weight.normal_(0.0, self.std, generator=stream)
        zeros = math.ceil(self.sparsity * len(weight))
        places = torch.rand(weight.shape, generator=stream).topk(zeros, dim=0).indices
        weight.scatter_(0, places, 0.0)


@final
class SparseMartens(Scheme):
    """Every unit has only a few incoming weights, each of them large."""

    title: ClassVar[str] = "Sparse (Martens)"
    formula: ClassVar[str] = "each unit has k incoming weights N(0, std^2), the others are 0; Var W = k std^2 / n"
    formula_tex: ClassVar[str] = (
        r"W_{ij} \sim \mathcal{N}(0, \sigma^2) \text{ for } k \text{ random } j, \text{ else } 0"
    )
    source: ClassVar[str] = "Martens 2010, Deep learning via Hessian-free optimization, section 5"
    scheme: Literal["sparse_martens"] = "sparse_martens"
    connections: Whole = Field(15, ge=1, le=8192, description="Incoming weights k of each unit, 1 <= k <= n.")
    std: Real = Field(1.0, gt=0, le=10, description="Standard deviation of these weights.")

    def misfit(self, sizes: tuple[int, ...], activation: str) -> str:
        """Return a message if a layer has fewer inputs than connections, else an empty string."""
        layer, fan_in = smallest_fan_in(sizes)
        if self.connections <= fan_in:
            return ""
        return (
            f"connections = {self.connections} is more than the {fan_in} inputs of layer {layer}; "
            f"use 1 to {fan_in}, or a wider layer before it"
        )

    def weight_variance(self, fan_in: int, fan_out: int, activation: str) -> float:
        """Return k std^2 / n."""
        return self.connections * self.std**2 / fan_in

    def fill_weight(self, weight: torch.Tensor, activation: str, stream: torch.Generator) -> None:
        """Draw k entries of each row from N(0, std^2), at random places, and set the others to 0."""
        import torch

        places = torch.rand(weight.shape, generator=stream).topk(self.connections, dim=1).indices
        values = torch.empty(places.shape).normal_(0.0, self.std, generator=stream)
        weight.zero_().scatter_(1, places, values)
