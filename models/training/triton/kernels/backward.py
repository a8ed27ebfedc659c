"""The kernels of the way back: gradients of the layers, and the updates of their parameters; see `forward`."""

from __future__ import annotations

import triton
import triton.language as tl

from models.training.triton.kernels.arithmetic import EXACT_RIGHT, product, through, whole
from models.training.triton.kernels.sums import left_indices, no_sum, right_indices, summed, whole_sum
from models.training.triton.kernels.updates import prefetch, remembered, update
from models.training.triton.kernels.waiting import wait

# A kernel's many arguments read better in groups than one a line.
# fmt: off


@triton.jit
def gradient_below(
    pid_m, pid_n, k, DZ, dz_ks, P, p_ks, w, KEPT, a_ks, a_stride, DA, n_in, n_out, batch,
    ONE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, S: tl.constexpr, SERIAL: tl.constexpr,
    PREC: tl.constexpr, ACT: tl.constexpr, PDL: tl.constexpr,
):
    """A tile of dz_{l-1} = (dz_l V_l^T) * phi'; `n_out` is the width of dz_l with its padding."""
    m = pid_m * BM + tl.arange(0, BM)
    n = pid_n * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    row, ka = left_indices(m, inner, BK, 1 if SERIAL else S)
    kb, column = right_indices(n, inner, BK, 1 if SERIAL else S)
    inside = (m < batch)[:, None] & (n < a_stride)[None, :]
    at = k * a_ks + m[:, None] * a_stride + n[None, :]
    a_at = DZ + k * dz_ks + row * n_out + ka
    b_at = P + k * p_ks + w + column * n_out + kb
    kept = tl.load(KEPT + at, mask=inside, other=0.0)
    if ONE:
        b = tl.load(b_at, mask=(kb < n_out) & (column < n_in), other=0.0)
        wait(PDL)
        a = tl.load(a_at, mask=(row < batch) & (ka < n_out), other=0.0)
        below = whole_sum(product(a, b, no_sum(BM, BN, S), PREC, 0), S)
    else:
        wait(PDL)
        below = summed(
            a_at, b_at, row, ka, kb, column, batch, n_out, n_out, n_in, 1, False, BM, BN, BK, S, SERIAL, PREC
        )
    tl.store(DA + at, through(below, kept, ACT), mask=inside)


@triton.jit
def biases_updated(P, M, V, at, inside, gradient, rate, root, decay, momentum, OPT: tl.constexpr):
    value = tl.load(P + at, mask=inside, other=0.0)
    first = remembered(M, at, inside, OPT != "sgd")
    second = remembered(V, at, inside, OPT == "adam")
    update(P, M, V, at, inside, value, first, second, gradient, rate, root, decay, momentum, OPT)


@triton.jit
def weights_updated(  # noqa: C901 - its branches are the compiler's
    pid_m, pid_n, A, ROWS, a_stride, DZ, P, M, V, w, bias, RATES, decay, momentum, n_in, n_out, batch,
    BYTES: tl.constexpr, ONE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PREC: tl.constexpr,
    OPT: tl.constexpr, EARLY: tl.constexpr, STATE: tl.constexpr, PDL: tl.constexpr,
):
    """The gradient of BM inputs' weights to BN units, summed over the batch, and the optimizer's step on them.

    All pointers are those of the network. The gradient is computed turned, dz^T h [BN, BM]: with BN <= 32 the compiler
    takes mma.sync, whose sums are as exact as float32's. BYTES: h are the rows of the images A that ROWS choose. EARLY:
    all that is read is older than the launch before. STATE says when parameter and memory are read: 0 before the wait;
    1 after the product; 2 as 1, but fetched into the second-level cache before anything else. ONE: BK >= batch.
    """
    m = pid_m * BM + tl.arange(0, BM)
    n = pid_n * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    inside = (n < n_out)[:, None] & (m < n_in)[None, :]
    at = w + m[None, :] * n_out + n[:, None]
    a_width = n_in if BYTES else a_stride
    h_inside = (m < a_width)[None, :]
    dz_inside = (n < n_out)[:, None]
    dz_at = DZ + inner[None, :] * n_out + n[:, None]
    exact: tl.constexpr = EXACT_RIGHT if BYTES else 0
    if STATE == 2:
        starts = pid_n * BN + tl.arange(0, (BN + 31) // 32) * 32
        lines = w + tl.minimum(m, n_in - 1)[None, :] * n_out + starts[:, None]
        prefetch(P, lines)
        if OPT != "sgd":
            prefetch(M, lines)
        if OPT == "adam":
            prefetch(V, lines)
    rate = tl.load(RATES)
    root = tl.load(RATES + 1)
    acc = tl.zeros((BN, BM), tl.float32)
    if ONE:
        if BYTES:
            row = tl.load(ROWS + inner, mask=inner < batch, other=0)
            h = tl.load(A + row[:, None] * a_stride + m[None, :], mask=h_inside & (inner < batch)[:, None], other=0)
        else:
            h = tl.load(A + inner[:, None] * a_stride + m[None, :], mask=h_inside & (inner < batch)[:, None], other=0.0)
        if STATE == 0:
            value = tl.load(P + at, mask=inside, other=0.0)
            first = remembered(M, at, inside, OPT != "sgd")
            second = remembered(V, at, inside, OPT == "adam")
        if not EARLY:
            wait(PDL)
        dz = tl.load(dz_at, mask=dz_inside & (inner < batch)[None, :], other=0.0)
        if BYTES:
            h = whole(h, PREC)
        acc = product(dz, h, acc, PREC, exact)
        bias_gradient = tl.sum(dz, 1)
        if STATE > 0:
            value = tl.load(P + at, mask=inside, other=0.0)
            first = remembered(M, at, inside, OPT != "sgd")
            second = remembered(V, at, inside, OPT == "adam")
        if EARLY:
            wait(PDL)
    else:
        wait(PDL)
        all_dz = tl.zeros((BN, BK), tl.float32)
        for b0 in range(0, batch, BK):
            if BYTES:
                row = tl.load(ROWS + b0 + inner, mask=b0 + inner < batch, other=0)
                h = tl.load(
                    A + row[:, None] * a_stride + m[None, :], mask=h_inside & (b0 + inner < batch)[:, None], other=0
                )
                h = whole(h, PREC)
            else:
                h_at = A + (b0 + inner)[:, None] * a_stride + m[None, :]
                h = tl.load(h_at, mask=h_inside & (b0 + inner < batch)[:, None], other=0.0)
            dz = tl.load(dz_at + b0 * n_out, mask=dz_inside & (b0 + inner < batch)[None, :], other=0.0)
            acc = product(dz, h, acc, PREC, exact)
            all_dz += dz
        bias_gradient = tl.sum(all_dz, 1)
        value = tl.load(P + at, mask=inside, other=0.0)
        first = remembered(M, at, inside, OPT != "sgd")
        second = remembered(V, at, inside, OPT == "adam")
    if BYTES:
        acc = acc * (1.0 / 255.0)
    update(P, M, V, at, inside, value, first, second, acc, rate, root, decay, momentum, OPT)
    if pid_m == 0:
        biases_updated(P, M, V, bias + n, n < n_out, bias_gradient, rate, root, decay, momentum, OPT)


@triton.jit(do_not_specialize=["d_tiles", "d_tiles_n", "w_tiles_n", "batch", "g"])
def backward(
    DZ, dz_ks, KEPT, a_ks, a_stride, DA, w, n_in, n_out, d_tiles, d_tiles_n,
    DZ2, dz2_ks, A2, a2_ks, w2, bias2, n_in2, n_out2, w_tiles_n, P, M, V, p_ks, RATES, decay, momentum, batch, g,
    ONE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, S: tl.constexpr, SERIAL: tl.constexpr,
    WONE: tl.constexpr, WM: tl.constexpr, WN: tl.constexpr, WK: tl.constexpr,
    PREC: tl.constexpr, ACT: tl.constexpr, OPT: tl.constexpr, STATE: tl.constexpr, PDL: tl.constexpr,
):
    """dz_{l-1} from dz_l, and the update of layer l + 1, which nobody reads any more in this step."""
    pid = tl.program_id(0)
    k = tl.program_id(1).to(tl.int64)
    if pid < d_tiles:
        gradient_below(
            pid // d_tiles_n, pid % d_tiles_n, k, DZ, dz_ks, P, p_ks, w, KEPT, a_ks, a_stride, DA, n_in, n_out, batch,
            ONE, BM, BN, BK, S, SERIAL, PREC, ACT, PDL,
        )
    else:
        pid = pid - d_tiles
        weights_updated(
            pid // w_tiles_n, pid % w_tiles_n, A2 + k * a2_ks, A2, n_out, DZ2 + k * dz2_ks, P + k * p_ks,
            M + k * p_ks, V + k * p_ks, w2, bias2, RATES + 2 * g, decay, momentum, n_in2, n_out2, batch,
            False, WONE, WM, WN, WK, PREC, OPT, False, STATE, PDL,
        )


@triton.jit(
    do_not_specialize=["rows_ks", "tiles1", "tiles1_n", "tiles2_n", "batch", "g"],
    do_not_specialize_on_alignment=["ROWS"],
)
def last(
    X, ROWS, rows_ks, x_stride, DZ1, dz1_ks, w1, bias1, n_in1, n_out1, tiles1, tiles1_n,
    DZ2, dz2_ks, A2, a2_ks, w2, bias2, n_in2, n_out2, tiles2_n, P, M, V, p_ks, RATES, decay, momentum, batch, g,
    ONE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    WM: tl.constexpr, WN: tl.constexpr, WK: tl.constexpr,
    PREC: tl.constexpr, OPT: tl.constexpr, EARLY: tl.constexpr, STATE: tl.constexpr, PDL: tl.constexpr,
):
    """The update of layer 1, from the images' bytes, and that of layer 2."""
    pid = tl.program_id(0)
    k = tl.program_id(1).to(tl.int64)
    P += k * p_ks  # noqa: N806
    M += k * p_ks  # noqa: N806
    V += k * p_ks  # noqa: N806
    if pid < tiles1:
        weights_updated(
            pid // tiles1_n, pid % tiles1_n, X, ROWS + k * rows_ks + g * batch, x_stride, DZ1 + k * dz1_ks, P, M, V,
            w1, bias1, RATES + 2 * g, decay, momentum, n_in1, n_out1, batch,
            True, ONE, BM, BN, BK, PREC, OPT, False, STATE, PDL,
        )
    else:
        pid = pid - tiles1
        weights_updated(
            pid // tiles2_n, pid % tiles2_n, A2 + k * a2_ks, ROWS, n_out1, DZ2 + k * dz2_ks, P, M, V,
            w2, bias2, RATES + 2 * g, decay, momentum, n_in2, n_out2, batch,
            False, ONE, WM, WN, WK, PREC, OPT, EARLY, STATE, PDL,
        )
