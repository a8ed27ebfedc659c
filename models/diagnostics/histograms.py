"""Take the distributions in the layers of a network from one pass of images, forward and backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diagnostics.distributions import BINS, OUTER, Histogram, LayerDistributions
from models.diagnostics.layer_statistics import passed

if TYPE_CHECKING:
    from models.diagnostics.measure import Probe
    from models.network.stack import NetworkStack

MAX_COMPARED_UNITS = 256
NARROW = 1e-3
"""Half the width of a histogram of equal numbers, relative to them."""


def layer_distributions(stack: NetworkStack, probe: Probe) -> list[LayerDistributions]:
    """Return the distributions in each layer of a stack of one network."""
    seen = passed(stack, probe.shares, probe.labels)
    return [
        LayerDistributions(
            layer=number + 1,
            weights=histogram(weight[0]),
            weight_gradients=histogram(seen.weight_gradients[number][0]),
            activations=histogram(seen.a[number][0]),
            unit_cosines=unit_cosines(weight[0]),
        )
        for number, weight in enumerate(stack.weights)
    ]


def histogram(values: Tensor, ends: tuple[float, float] | None = None) -> Histogram:
    """Return the histogram of some numbers; `ends` fixes its range."""
    flat = values.flatten()
    finite = flat[flat.isfinite()]
    rest = finite[finite != 0].double()
    low, high = ends or _range_of(rest)
    counts = torch.zeros(BINS, dtype=torch.int64)
    if len(rest):
        places = ((rest - low) / (high - low) * BINS).clamp_(0, BINS - 1).long()  # a long would overflow first
        counts = torch.bincount(places, minlength=BINS)
    return Histogram(
        low=low,
        high=high,
        counts=counts.tolist(),
        zeros=len(finite) - len(rest),
        not_finite=len(flat) - len(finite),
        mean=float(finite.double().mean()) if len(finite) else None,
    )


def unit_cosines(weight: Tensor) -> Histogram | None:
    """Return the histogram of the cosines between two rows of a weight [units, inputs]; None without two rows."""
    some = weight[:: max(1, -(-len(weight) // MAX_COMPARED_UNITS))].double()
    norms = some.norm(dim=1)
    units = some[(norms > 0) & norms.isfinite()]
    if len(units) < 2:
        return None
    units = units / units.norm(dim=1, keepdim=True)
    above = torch.triu_indices(len(units), len(units), 1)
    return histogram((units @ units.t())[above[0], above[1]], (-1.0, 1.0))


def _range_of(values: Tensor) -> tuple[float, float]:
    if len(values) == 0:
        return 0.0, 0.0
    outer = int(OUTER * len(values))
    low, high = (float(torch.kthvalue(values, place).values) for place in (outer + 1, len(values) - outer))
    narrow = NARROW * max(abs(low), abs(high))
    return (low - narrow, high + narrow) if high - low <= narrow else (low, high)
