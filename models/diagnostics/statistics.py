"""Statistics of matrices and activations: moments, singular values, distinct rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

FEW_ROWS = 64
MAX_DECOMPOSED = 1024
"""Side of the largest matrix whose singular values are computed."""
SAME_WITHIN = 1e-5


def distinct_rows(weight: Tensor) -> int:
    """Return how many different rows a matrix has.

    Rows are compared bit for bit. If at most `FEW_ROWS` differ, rows within 1e-5 of each other, relative to their norm,
    count as one: kernels round the edge of a matrix in another order than its middle, which would split equal units.
    """
    if len(torch.unique(weight[:, 0])) == len(weight):  # every row has another first entry, as in most layers
        return len(weight)
    rows = list({row.tobytes(): torch.from_numpy(row) for row in weight.cpu().numpy()}.values())
    if len(rows) > FEW_ROWS:
        return len(rows)
    kept: list[Tensor] = []
    for row in rows:
        if all(float((row - kept_row).norm()) > SAME_WITHIN * float(kept_row.norm()) for kept_row in kept):
            kept.append(row)
    return len(kept)


class Moments(NamedTuple):
    """Mean, standard deviation (over n - 1) and root mean square of some numbers."""

    mean: float
    std: float
    rms: float


def moments(values: Tensor) -> Moments:
    """Return the moments, also of values such as 1e-30 or 1e30, whose squares are out of the range of float32."""
    wide = values.double() if values.is_cuda else values  # on a CPU torch sums in float64 anyway
    mean, std = float(wide.mean()), float(wide.std())
    if not (math.isfinite(mean) and math.isfinite(std)) and wide.dtype != torch.float64:
        return moments(values.double())
    return Moments(mean, std, math.hypot(mean, std * math.sqrt(1 - 1 / values.numel())))


class Likeness(NamedTuple):
    """How alike the rows of a matrix are; see `likeness`. None where it is undefined or not finite."""

    share: float | None
    cosine: float | None


def likeness(rows: Tensor) -> Likeness:
    """Return what differs between the rows z_i of a matrix [n, units], and the mean cosine between two of them.

    share = 1 - |mean z|^2 / mean |z_i|^2, from centred rows in float64;
    cosine = (|sum z_i / |z_i||^2 - n) / (n (n - 1)).
    Both are None if a row is zero or not finite, and the cosine if there is only one row.
    """
    wide, count = rows.double(), len(rows)
    norms = wide.norm(dim=1)
    if not bool(((norms > 0) & norms.isfinite()).all()):
        return Likeness(None, None)
    share = float((wide - wide.mean(0)).square().sum() / wide.square().sum())
    if count < 2:
        return Likeness(share, None)
    together = float((wide / norms[:, None]).sum(0).square().sum())
    return Likeness(share, (together - count) / (count * (count - 1)))


def singular_values_of(matrix: Tensor) -> Tensor:
    """Return the singular values of a matrix, float64, ascending: roots of the eigenvalues of M M^T or M^T M.

    The products are in float64, so the error is about 1e-8 of the largest value. A decomposition in float32 has an
    error of 1e-7 and takes twice as long.
    """
    wide = matrix.double()
    gram = wide @ wide.t() if len(wide) <= wide.shape[1] else wide.t() @ wide
    squares: Tensor = torch.linalg.eigvalsh(gram)
    return squares.clamp_min(0).sqrt()
