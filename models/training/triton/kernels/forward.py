"""The kernels of one training step of K stacked networks: 2L - 1 launches for L layers.

    forward 1 .. L-1 | head: loss, dz_L and dz_{L-1} | backward l: dz_{l-1}, and the update of layer l+1 (l = L-1 .. 2)
    | last: the updates of layers 1 and 2

Names as in `models.training.step`. Network k is `program_id(1)`; its parameters begin at P + k p_ks, those of a layer
at `w` and `bias` within; rows of the weight [fan_in, n_out] lie `n_out` apart. Widths of what is between the layers
are rounded up to 16: weights and gradients are zero in the padding. No launch reads what another block of it writes,
nothing is added atomically, and no sum depends on K.

With programmatic dependent launch (PDL) a kernel may start before its predecessor ends. What stands before `wait` reads
only what the launch before the last one, or an older one, wrote. Nothing is written before it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from models.training.triton.kernels.arithmetic import EXACT_LEFT, activated, exp, product, through, whole
from models.training.triton.kernels.sums import left_indices, no_sum, right_indices, summed, whole_sum
from models.training.triton.kernels.waiting import wait

# A kernel's many arguments read better in groups than one a line.
# fmt: off


@triton.jit(
    do_not_specialize=["rows_ks", "tiles_n", "batch", "g"],
    do_not_specialize_on_alignment=["ROWS"],
)
def forward(
    X, ROWS, rows_ks, A, a_ks, a_stride, P, p_ks, w, bias, H, Z, o_ks, n_in, n_out, tiles_n, batch, g,
    BYTES: tl.constexpr, ONE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, S: tl.constexpr,
    SERIAL: tl.constexpr, PREC: tl.constexpr, ACT: tl.constexpr, PDL: tl.constexpr,
):
    """A tile of h_l = phi(h_{l-1} V_l + b_l). BYTES: of the first layer, from the images X that ROWS choose.

    `a_stride` is the distance of rows of X, or of A. ONE: S BK >= n_in, so that the inner sum takes no loop; SERIAL
    (not with ONE): see `summed`. For gelu also writes Z.
    """
    k = tl.program_id(1).to(tl.int64)
    m = tl.program_id(0) // tiles_n * BM + tl.arange(0, BM)
    n = tl.program_id(0) % tiles_n * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    row, ka = left_indices(m, inner, BK, 1 if SERIAL else S)
    kb, column = right_indices(n, inner, BK, 1 if SERIAL else S)
    P += k * p_ks  # noqa: N806
    a_width = n_in if BYTES else a_stride
    if BYTES:
        chosen = tl.load(ROWS + k * rows_ks + g * batch + m, mask=m < batch, other=0)
        chosen, _ = left_indices(chosen, inner, BK, 1 if SERIAL else S)
        a_at = X + chosen * a_stride + ka
    else:
        a_at = A + k * a_ks + row * a_stride + ka
    b_at = P + w + kb * n_out + column
    if ONE:
        if BYTES:  # the images do not depend on the launch before; its weights do
            a = tl.load(a_at, mask=(row < batch) & (ka < a_width), other=0)
            wait(PDL)
            b = tl.load(b_at, mask=(kb < n_in) & (column < n_out), other=0.0)
            shift = tl.load(P + bias + n, mask=n < n_out, other=0.0)
            a = whole(a, PREC)
        else:
            b = tl.load(b_at, mask=(kb < n_in) & (column < n_out), other=0.0)
            shift = tl.load(P + bias + n, mask=n < n_out, other=0.0)
            wait(PDL)
            a = tl.load(a_at, mask=(row < batch) & (ka < a_width), other=0.0)
        z = whole_sum(product(a, b, no_sum(BM, BN, S), PREC, EXACT_LEFT if BYTES else 0), S)
    else:
        wait(PDL)
        shift = tl.load(P + bias + n, mask=n < n_out, other=0.0)
        z = summed(
            a_at, b_at, row, ka, kb, column, batch, a_width, n_in, n_out, n_out, BYTES, BM, BN, BK, S, SERIAL, PREC
        )
    if BYTES:
        z = z * (1.0 / 255.0)
    z = z + shift[None, :]
    at = k * o_ks + m[:, None] * n_out + n[None, :]
    inside = (m < batch)[:, None] & (n < n_out)[None, :]
    if ACT == "gelu":
        tl.store(Z + at, z, mask=inside)
    tl.store(H + at, activated(z, ACT), mask=inside)


@triton.jit(
    do_not_specialize=["rows_ks", "tiles_n", "batch", "count", "g"],
    do_not_specialize_on_alignment=["LABELS", "ROWS"],
)
def head(
    LABELS, ROWS, rows_ks, A, KEPT, a_ks, a_stride, P, p_ks, w, bias, DZ, dz_ks, DA, LOSS, HIT, n_in, n_out, tiles_n,
    batch, count, g,
    C: tl.constexpr, CC: tl.constexpr, ONE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    S: tl.constexpr, PREC: tl.constexpr, ACT: tl.constexpr, PDL: tl.constexpr,
):
    """Logits, loss, hits and dz_L of some rows, and a tile of dz_{L-1}.

    Every column tile computes the logits again, C classes in CC places: it is little. KEPT is z_{L-1} for gelu, else h.
    """
    k = tl.program_id(1).to(tl.int64)
    pid_n = tl.program_id(0) % tiles_n
    m = tl.program_id(0) // tiles_n * BM + tl.arange(0, BM)
    n = pid_n * BN + tl.arange(0, BN)
    c = tl.arange(0, CC)
    inner = tl.arange(0, BK)
    P += k * p_ks  # noqa: N806
    label = tl.load(LABELS + tl.load(ROWS + k * rows_ks + g * batch + m, mask=m < batch, other=0)).to(tl.int32)
    row, ka = left_indices(m, inner, BK, S)
    kb, column = right_indices(c, inner, BK, S)
    h_at = A + k * a_ks + row * a_stride + ka
    v_at = P + w + kb * n_out + column
    turned = tl.load(
        P + w + n[None, :] * n_out + c[:, None], mask=(n < n_in)[None, :] & (c < n_out)[:, None], other=0.0
    )
    shift = tl.load(P + bias + c, mask=c < n_out, other=0.0)
    inside = (m < batch)[:, None] & (n < a_stride)[None, :]
    at = k * a_ks + m[:, None] * a_stride + n[None, :]
    if ONE:
        v = tl.load(v_at, mask=(kb < n_in) & (column < n_out), other=0.0)
        wait(PDL)
        h = tl.load(h_at, mask=(row < batch) & (ka < a_stride), other=0.0)
        kept = tl.load(KEPT + at, mask=inside, other=0.0)
        z = whole_sum(product(h, v, no_sum(BM, CC, S), PREC, 0), S)
    else:
        wait(PDL)
        kept = tl.load(KEPT + at, mask=inside, other=0.0)
        z = summed(
            h_at, v_at, row, ka, kb, column, batch, a_stride, n_in, n_out, n_out, False, BM, CC, BK, S, False, PREC
        )
    z = tl.where((c < C)[None, :], z + shift[None, :], -float("inf"))
    z = z - tl.max(z, 1)[:, None]
    e = exp(z)
    total = tl.sum(e, 1)
    is_label = c[None, :] == label[:, None]
    dz = tl.where((m < batch)[:, None], (e / total[:, None] - tl.where(is_label, 1.0, 0.0)) / batch, 0.0)
    if pid_n == 0:
        loss = tl.log(total) - tl.sum(tl.where(is_label, z, 0.0), 1)
        first_best = tl.min(tl.where(z == 0.0, c[None, :], CC), 1)
        of_images = (g * count.to(tl.int64) + k) * batch + m
        tl.store(LOSS + of_images, loss, mask=m < batch)
        tl.store(HIT + of_images, (first_best == label).to(tl.int32), mask=m < batch)
        dz_at = k * dz_ks + m[:, None] * n_out + c[None, :]
        tl.store(DZ + dz_at, dz, mask=(m < batch)[:, None] & (c < n_out)[None, :])
    below = product(dz, turned, tl.zeros((BM, BN), tl.float32), PREC, 0)
    tl.store(DA + at, through(below, kept, ACT), mask=inside)
