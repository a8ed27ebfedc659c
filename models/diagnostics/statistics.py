"""Statistics of K matrices at once, as tensors on their device: moments, likeness of rows, singular values.

Where a statistic is undefined it is NaN, so that a GPU need not wait for the host. `distinct_rows` is of one matrix.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

FEW_ROWS = 64
MAX_DECOMPOSED = 1024
"""Side of the largest matrix whose singular values are computed."""
SAME_WITHIN = 1e-5


def firsts_differ(weights: Tensor) -> Tensor:
    """Return bool [K]: whether every row of a matrix [K, rows, columns] has another first entry, as in most layers."""
    firsts = weights[:, :, 0].sort(1).values
    return (firsts[:, 1:] != firsts[:, :-1]).all(1)


def distinct_rows(weight: Tensor) -> int:
    """Return how many different rows a matrix has.

    Rows are compared bit for bit. If at most `FEW_ROWS` differ, rows within 1e-5 of each other, relative to their norm,
    count as one: kernels round the edge of a matrix in another order than its middle, which would split equal units.
    """
    if bool(firsts_differ(weight[None])):
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
    """Mean, standard deviation (over n - 1) and root mean square of some numbers, float64 [K] each."""

    mean: Tensor
    std: Tensor
    rms: Tensor


def moments(values: Tensor) -> Moments:
    """Return the moments of values [K, ...], also of such as 1e-30 or 1e30, whose squares are beyond float32."""
    flat = values.flatten(1)
    wide = flat.double() if flat.is_cuda else flat  # on a CPU torch sums in float64 anyway
    mean, std = wide.mean(1).double(), wide.std(1).double()
    if wide.dtype != torch.float64 and not bool((mean.isfinite() & std.isfinite()).all()):
        return moments(flat.double())
    return Moments(mean, std, torch.hypot(mean, std * math.sqrt(1 - 1 / flat.shape[1])))


class Likeness(NamedTuple):
    """How alike the rows of a matrix are, float64 [K] each; see `likeness`. NaN where it is undefined."""

    share: Tensor
    cosine: Tensor


def likeness(rows: Tensor) -> Likeness:
    """Return what differs between the rows z_i of matrices [K, n, units], and the mean cosine between two of them.

    share = 1 - |mean z|^2 / mean |z_i|^2, from centred rows in float64;
    cosine = (|sum z_i / |z_i||^2 - n) / (n (n - 1)).
    Both are NaN if a row is zero or not finite, and the cosine if there is only one row.
    """
    wide, count = rows.double(), rows.shape[1]
    norms = wide.norm(dim=2)
    defined = ((norms > 0) & norms.isfinite()).all(1)
    share = (wide - wide.mean(1, keepdim=True)).square().sum((1, 2)) / wide.square().sum((1, 2))
    together = (wide / norms[:, :, None]).sum(1).square().sum(1)
    cosine = (together - count) / (count * (count - 1)) if count > 1 else torch.full_like(share, math.nan)
    return Likeness(*(statistic.masked_fill(~defined, math.nan) for statistic in (share, cosine)))


def quantiles(values: Tensor, places: tuple[float, ...], most: int) -> Tensor:
    """Return quantiles [K, places] of at most some of the values [K, ...], evenly chosen. NaN if they are infinite."""
    flat = values.flatten(1)
    some = flat[:, :: max(1, flat.shape[1] // most)]
    if values.is_cuda:
        wanted = torch.tensor(places, dtype=some.dtype, device=some.device)
        return torch.quantile(some, wanted, dim=1).t()
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.quantile(some.numpy(), places, axis=1).T.astype(np.float64))


def singular_values_of(matrices: Tensor) -> Tensor:
    """Return the singular values of matrices [K, rows, columns], float64, ascending; NaN of one that is not finite.

    They are the roots of the eigenvalues of M M^T or M^T M. The products are in float64, so the error is about 1e-8 of
    the largest value. A decomposition in float32 has an error of 1e-7 and takes twice as long.
    """
    finite = matrices.isfinite().all(2).all(1)
    wide = matrices.double().masked_fill(~finite[:, None, None], 0.0)
    turned = wide.transpose(1, 2)
    gram = wide @ turned if wide.shape[1] <= wide.shape[2] else turned @ wide
    values: Tensor = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    return values.masked_fill(~finite[:, None], math.nan)
