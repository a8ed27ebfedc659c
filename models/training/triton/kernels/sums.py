"""Tiles of products whose inner sum is split among the warps of a block."""

from __future__ import annotations

import triton
import triton.language as tl

from models.training.triton.kernels.arithmetic import EXACT_LEFT, product, whole

# A kernel's many arguments read better in groups than one a line.
# fmt: off


@triton.jit
def left_indices(rows, inner, BK: tl.constexpr, S: tl.constexpr):
    """Return row and inner index of a left operand, [BM, BK], or [S, BM, BK] where S warps share the inner sum."""
    if S == 1:
        return rows[:, None], inner[None, :]
    else:
        return rows[None, :, None], (tl.arange(0, S) * BK)[:, None, None] + inner[None, None, :]


@triton.jit
def right_indices(columns, inner, BK: tl.constexpr, S: tl.constexpr):
    """Return inner and column index of a right operand, [BK, BN] or [S, BK, BN]."""
    if S == 1:
        return inner[:, None], columns[None, :]
    else:
        return (tl.arange(0, S) * BK)[:, None, None] + inner[None, :, None], columns[None, None, :]


@triton.jit
def no_sum(BM: tl.constexpr, BN: tl.constexpr, S: tl.constexpr):
    """Return the zeros that a product starts from."""
    if S == 1:
        return tl.zeros((BM, BN), tl.float32)
    else:
        return tl.zeros((S, BM, BN), tl.float32)


@triton.jit
def whole_sum(acc, S: tl.constexpr):
    """Return the sum [BM, BN] of what the warps have summed."""
    if S == 1:
        return acc
    else:
        return tl.sum(acc, 0)


@triton.jit
def summed_part(
    acc, a_at, b_at, row, ka, kb, column, k0, batch, a_width, b_length, b_width, b_step,
    BYTES: tl.constexpr, PREC: tl.constexpr,
):
    """Return acc and the part of an inner sum that begins at k0: of A[row, ka + k0] B[kb + k0, column].

    A has `batch` rows and `a_width` columns, B has `b_length` rows, `b_step` apart, and `b_width` columns.
    """
    a = tl.load(a_at + k0, mask=(row < batch) & (ka + k0 < a_width), other=0)
    b = tl.load(b_at + k0 * b_step, mask=(kb + k0 < b_length) & (column < b_width), other=0.0)
    if BYTES:
        a = whole(a, PREC)
    return product(a, b, acc, PREC, EXACT_LEFT if BYTES else 0)


@triton.jit
def summed(
    a_at, b_at, row, ka, kb, column, batch, a_width, b_length, b_width, b_step,
    BYTES: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, S: tl.constexpr, SERIAL: tl.constexpr,
    PREC: tl.constexpr,
):
    """Return the inner sum A B as S sums, each of every S-th part of BK; see `summed_part`.

    The S sums are those of S warps; or, SERIAL, all warps take one after another, and add them up as the warps would:
    for larger tiles, with the same bits.
    """
    if SERIAL and S == 4:
        acc0 = no_sum(BM, BN, 1)
        acc1 = no_sum(BM, BN, 1)
        acc2 = no_sum(BM, BN, 1)
        acc3 = no_sum(BM, BN, 1)
        for k0 in range(0, b_length, S * BK):
            acc0 = summed_part(
                acc0, a_at, b_at, row, ka, kb, column, k0,
                batch, a_width, b_length, b_width, b_step, BYTES, PREC,
            )
            acc1 = summed_part(
                acc1, a_at, b_at, row, ka, kb, column, k0 + BK,
                batch, a_width, b_length, b_width, b_step, BYTES, PREC,
            )
            acc2 = summed_part(
                acc2, a_at, b_at, row, ka, kb, column, k0 + 2 * BK,
                batch, a_width, b_length, b_width, b_step, BYTES, PREC,
            )
            acc3 = summed_part(
                acc3, a_at, b_at, row, ka, kb, column, k0 + 3 * BK,
                batch, a_width, b_length, b_width, b_step, BYTES, PREC,
            )
        return (acc0 + acc2) + (acc1 + acc3)
    else:
        acc = no_sum(BM, BN, S)
        for k0 in range(0, b_length, S * BK):
            acc = summed_part(
                acc, a_at, b_at, row, ka, kb, column, k0, batch, a_width, b_length, b_width, b_step, BYTES, PREC
            )
        return whole_sum(acc, S)
