"""Statistics of matrices and activations: moments, singular values, distinct rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass

FEW_ROWS = 64
SAME_WITHIN = 1e-5


def distinct_rows(weight: Tensor) -> int:
    """Return how many different rows a matrix has.

    Bit for bit; but where that finds few, rows that differ by less than 1e-5 of their size count as one: kernels round
    the edge of a matrix in another order than its middle, and would split equal units in two.
    """
    if len(torch.unique(weight[:, 0])) == len(weight):  # rows that begin differently are different, as in most layers
        return len(weight)
    rows = list({row.tobytes(): torch.from_numpy(row) for row in weight.cpu().numpy()}.values())
    if len(rows) > FEW_ROWS:
        return len(rows)
    kept: list[Tensor] = []
    for row in rows:
        if all(float((row - other).norm()) > SAME_WITHIN * float(other.norm()) for other in kept):
            kept.append(row)
    return len(kept)


class Moments(NamedTuple):
    """Mean, standard deviation (over n - 1) and root mean square of some numbers."""

    mean: float
    std: float
    rms: float


def moments(values: Tensor) -> Moments:
    """Return the moments, also of values as small as 1e-30 or as large as 1e30, whose squares float32 does not know."""
    wide = values.double() if values.is_cuda else values  # on a CPU torch adds up in float64 by itself
    mean, std = float(wide.mean()), float(wide.std())
    if not (math.isfinite(mean) and math.isfinite(std)) and wide.dtype != torch.float64:
        return moments(values.double())
    return Moments(mean, std, math.hypot(mean, std * math.sqrt(1 - 1 / values.numel())))


def singular_values_of(matrix: Tensor) -> Tensor:
    """Return the singular values of a matrix, float64, ascending: roots of the eigenvalues of M M^T or M^T M.

    The products are of float64, so that an error is about 1e-8 of the largest value: less than the 1e-7 of a
    decomposition in float32, in half of its time.
    """
    wide = matrix.double()
    gram = wide @ wide.t() if len(wide) <= wide.shape[1] else wide.t() @ wide
    squares: Tensor = torch.linalg.eigvalsh(gram)
    return squares.clamp_min(0).sqrt()
