"""The optimizers' steps, as torch takes them, and the numbers that change from step to step."""

from __future__ import annotations

import triton
import triton.language as tl

from models.training.triton.kernels.arithmetic import INTERPRETED

BETA_1 = tl.constexpr(0.9)
BETA_2 = tl.constexpr(0.999)
EPSILON = tl.constexpr(1e-8)

# A kernel's many arguments read better in groups than one a line.
# fmt: off


@triton.jit
def remembered(MEMORY, at, inside, NEEDED: tl.constexpr):
    """Return what an optimizer remembers of some parameters; 0 where it remembers nothing."""
    if NEEDED:
        return tl.load(MEMORY + at, mask=inside, other=0.0)
    else:
        return 0.0


@triton.jit
def update(P, M, V, at, inside, value, first, second, gradient, rate, root, decay, momentum, OPT: tl.constexpr):
    """Take an optimizer's step on some parameters: write them, and what the optimizer remembers of them.

    OPT adam: M and V are the moments; rate = lr / (1 - beta_1^t), root = 1 / sqrt(1 - beta_2^t). sgd: rate = lr;
    momentum: so too, and M is the momentum buffer. `decay` times the parameter is added to its gradient.
    """
    gradient = gradient + decay * value
    if OPT == "adam":
        first = first * BETA_1 + gradient * (1.0 - BETA_1)
        second = second * BETA_2 + gradient * gradient * (1.0 - BETA_2)
        tl.store(M + at, first, mask=inside)
        tl.store(V + at, second, mask=inside)
        value = value - rate * first / (tl.sqrt(second) * root + EPSILON)
    elif OPT == "momentum":
        first = momentum * first + gradient
        tl.store(M + at, first, mask=inside)
        value = value - rate * first
    else:
        value = value - rate * gradient
    tl.store(P + at, value, mask=inside)


@triton.jit
def prefetch(MEMORY, at):
    """Ask for memory to be brought into the second-level cache; `at` needs one place a 128 bytes."""
    if not INTERPRETED:
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [MEMORY + at], dtype=tl.int32, is_pure=False, pack=1
        )


@triton.jit
def power(base, exponent, BITS: tl.constexpr):
    """Return base^exponent for whole exponents below 2^BITS, in float64, by squaring."""
    result = base * 0.0 + 1.0
    for bit in tl.static_range(BITS):
        result = tl.where((exponent >> bit) & 1 == 1, result * base, result)
        base = base * base
    return result


@triton.jit(do_not_specialize=["steps"], do_not_specialize_on_alignment=["LRS"])
def prepare(LRS, COUNTER, RATES, LR, steps, GG: tl.constexpr, OPT: tl.constexpr):
    """Write the two numbers of each step, RATES float32 [steps, 2], and the last learning rate, LR float32 [1].

    LRS float32 [steps], COUNTER int64 [1]: the steps taken before; GG >= steps. One warp.
    """
    g = tl.arange(0, GG)
    inside = g < steps
    lr = tl.load(LRS + g, mask=inside, other=0.0)
    rate = lr
    root = lr
    if OPT == "adam":
        t = tl.load(COUNTER) + 1 + g
        rate = (lr.to(tl.float64) / (1.0 - power(tl.full((GG,), 0.9, tl.float64), t, 40))).to(tl.float32)
        root = (1.0 / tl.sqrt(1.0 - power(tl.full((GG,), 0.999, tl.float64), t, 40))).to(tl.float32)
    tl.store(RATES + 2 * g, rate, mask=inside)
    tl.store(RATES + 2 * g + 1, root, mask=inside)
    tl.store(LR + 0 * g, lr, mask=g == steps - 1)


@triton.jit(do_not_specialize=["steps", "count", "batch", "counted"])
def add_up(
    LOSS, HIT, LOSSES, LAST, LOSS_SUMS, HIT_SUMS, COUNTER, steps, count, batch, counted,
    GG: tl.constexpr, BB: tl.constexpr,
):
    """Of one network: write the mean loss of each step, and add losses and right answers to the sums.

    LOSS float32 and HIT int32 [steps, count, batch], LOSSES [steps, count], LAST [count]: the last step's mean;
    LOSS_SUMS float64, HIT_SUMS int64 [count]. The first network adds `counted` to COUNTER. GG >= steps.
    """
    k = tl.program_id(0)
    g = tl.arange(0, GG)
    b = tl.arange(0, BB)
    losses = tl.zeros((GG, BB), tl.float32)
    hits = tl.zeros((GG, BB), tl.int32)
    at = (g[:, None].to(tl.int64) * count + k) * batch + b[None, :]
    for b0 in range(0, batch, BB):
        inside = (g < steps)[:, None] & (b0 + b < batch)[None, :]
        losses += tl.load(LOSS + at + b0, mask=inside, other=0.0)
        hits += tl.load(HIT + at + b0, mask=inside, other=0)
    of_steps = tl.sum(losses, 1)
    means = of_steps / batch
    tl.store(LOSSES + g * count + k, means, mask=g < steps)
    tl.store(LAST + k + 0 * g, means, mask=g == steps - 1)
    tl.store(LOSS_SUMS + k, tl.load(LOSS_SUMS + k) + tl.sum(of_steps.to(tl.float64), 0))
    tl.store(HIT_SUMS + k, tl.load(HIT_SUMS + k) + tl.sum(tl.sum(hits, 1), 0))
    if k == 0:
        tl.store(COUNTER, tl.load(COUNTER) + counted)
