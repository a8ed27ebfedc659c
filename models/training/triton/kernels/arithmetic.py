"""What the kernels compute with: products at three precisions, and the activations with their derivatives.

Every function is compiled into its caller. A product with a constant names the tensor first: the interpreter makes a
constant of the other order. In Triton's interpreter products of bfloat16 go through float32, since the
interpreter multiplies the integers that hold bfloat16.
"""

from __future__ import annotations

import os

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
EXACT_LEFT = tl.constexpr(1)
EXACT_RIGHT = tl.constexpr(2)
LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
LEAKY_SLOPE = tl.constexpr(0.01)
TANH_LIMIT = tl.constexpr(1.7159)  # 1.7159 tanh(2 z / 3)
TANH_STEEPNESS = tl.constexpr(2 / 3)
TANH_SLOPE = tl.constexpr(1.7159 * 2 / 3)  # at 0
TANH_BEND = tl.constexpr(2 / 3 / 1.7159)
SELU_SCALE = tl.constexpr(1.0507009873554805)
SELU_ALPHA = tl.constexpr(1.6732632423543772)
GELU_INNER = tl.constexpr(0.7978845608028654)  # sqrt(2 / pi)
GELU_CUBIC = tl.constexpr(0.044715)


# -- products --------------------------------------------------------------------------------------------


@triton.jit
def cut(x):
    """Return the upper half of a float32 as bfloat16, and what is left of the float32."""
    bits = x.to(tl.int32, bitcast=True)
    upper = (bits >> 16).to(tl.int16).to(tl.bfloat16, bitcast=True)
    return upper, x - (bits & -65536).to(tl.float32, bitcast=True)


@triton.jit
def whole(pixels, PREC: tl.constexpr):
    """Return bytes 0..255 as a product wants them: float32 for tf32, else bfloat16, which is exact.

    By bits: conversions of numbers run on a unit with a quarter of the speed or less.
    """
    values = (pixels.to(tl.int32) | 0x4B000000).to(tl.float32, bitcast=True) - 8388608.0
    if PREC != "tf32":
        values, _ = cut(values)
    return values


@triton.jit
def product_of_bf16(left, right, acc):
    if INTERPRETED:
        return tl.dot(left.to(tl.float32), right.to(tl.float32), acc)
    else:
        return tl.dot(left, right, acc)


@triton.jit
def product(left, right, acc, PREC: tl.constexpr, EXACT: tl.constexpr):
    """Return acc + left right, summed in float32.

    PREC: float32 (three products of tf32, or of bfloat16 where one side is exact in it), tf32 or bf16. EXACT says which
    side `whole` made; the other one as three bfloat16 is exact too.
    """
    if PREC == "bf16":
        acc = product_of_bf16(left.to(tl.bfloat16), right.to(tl.bfloat16), acc)
    elif PREC == "tf32":
        acc = tl.dot(left, right, acc, input_precision="tf32")
    elif EXACT == EXACT_LEFT:
        high, rest = cut(right)
        middle, rest = cut(rest)
        low, _ = cut(rest)
        acc = product_of_bf16(left, low, acc)
        acc = product_of_bf16(left, middle, acc)
        acc = product_of_bf16(left, high, acc)
    elif EXACT == EXACT_RIGHT:
        high, rest = cut(left)
        middle, rest = cut(rest)
        low, _ = cut(rest)
        acc = product_of_bf16(low, right, acc)
        acc = product_of_bf16(middle, right, acc)
        acc = product_of_bf16(high, right, acc)
    else:
        acc = tl.dot(left, right, acc, input_precision="tf32x3")
    return acc


# -- functions -------------------------------------------------------------------------------------------


@triton.jit
def exp(x):
    """Return e^x. The machine's 2^y, with what rounding took from y = x log2(e) put back."""
    near = tl.where(tl.abs(x) < 100.0, x, 0.0)  # an infinite product has no rest: inf - inf is not a number
    lost = tl.fma(near, LOG2_E, -(near * LOG2_E))
    return tl.exp2(x * LOG2_E) * (1.0 + lost * LN_2)


@triton.jit
def exp_minus_1(x):
    """Return e^x - 1 for x <= 0, as exact near 0 as away from it."""
    series = x * (1 / 40320) + 1 / 5040
    series = series * x + 1 / 720
    series = series * x + 1 / 120
    series = series * x + 1 / 24
    series = series * x + 1 / 6
    series = series * x + 0.5
    series = series * x + 1.0
    return tl.where(x > -0.5, series * x, exp(x) - 1.0)


@triton.jit
def tanh(x):
    """Return tanh x by a rational function of degrees 13 and 6, 5e-7 or nearer relatively; +-1 beyond 7.9."""
    near = tl.minimum(tl.maximum(x, -7.90531110763549805), 7.90531110763549805)
    s = near * near
    p = s * -2.76076847742355e-16 + 2.00018790482477e-13
    p = p * s - 8.60467152213735e-11
    p = p * s + 5.12229709037114e-08
    p = p * s + 1.48572235717979e-05
    p = p * s + 6.37261928875436e-04
    p = p * s + 4.89352455891786e-03
    q = s * 1.19825839466702e-06 + 1.18534705686654e-04
    q = q * s + 2.26843463243900e-03
    q = q * s + 4.89352518554385e-03
    return tl.where(x == x, near * p / q, x)  # a clamp would hide what is not a number


@triton.jit
def activated(z, ACT: tl.constexpr):
    """Return phi(z); what is not a number stays so."""
    if ACT == "relu":
        h = tl.where(z < 0.0, 0.0, z)
    elif ACT == "leaky_relu":
        h = tl.where(z > 0.0, z, z * LEAKY_SLOPE)
    elif ACT == "softsign":
        h = z / (1.0 + tl.abs(z))
    elif ACT == "identity":
        h = z
    else:
        h = activated_by_exponentials(z, ACT)
    return h


@triton.jit
def activated_by_exponentials(z, ACT: tl.constexpr):
    """Return phi(z) of an activation that is made of exponentials."""
    if ACT == "tanh":
        h = tanh(z)
    elif ACT == "scaled_tanh":
        h = tanh(z * TANH_STEEPNESS) * TANH_LIMIT
    elif ACT == "sigmoid":
        h = 1.0 / (1.0 + exp(-z))
    elif ACT == "selu":
        h = tl.where(z > 0.0, z, exp_minus_1(tl.minimum(z, 0.0)) * SELU_ALPHA) * SELU_SCALE
        h = tl.where(z == z, h, z)
    else:
        tl.static_assert(ACT == "gelu")
        h = 0.5 * z * (1.0 + tanh((z + z * z * z * GELU_CUBIC) * GELU_INNER))
    return h


@triton.jit
def through(dh, kept, ACT: tl.constexpr):
    """Return the gradient at z of that at h. `kept` is z for gelu, else h."""
    if ACT == "relu":
        dz = tl.where(kept > 0.0, dh, 0.0)
    elif ACT == "leaky_relu":
        dz = tl.where(kept > 0.0, dh, dh * LEAKY_SLOPE)
    elif ACT == "softsign":
        rest = 1.0 - tl.abs(kept)
        dz = dh * (rest * rest)
    elif ACT == "identity":
        dz = dh
    else:
        dz = through_exponentials(dh, kept, ACT)
    return dz


@triton.jit
def through_exponentials(dh, kept, ACT: tl.constexpr):
    """Return the gradient at z of that at h, as `through`, for an activation that is made of exponentials."""
    if ACT == "tanh":
        dz = dh * (1.0 - kept * kept)
    elif ACT == "scaled_tanh":
        dz = dh * (TANH_SLOPE - kept * kept * TANH_BEND)
    elif ACT == "sigmoid":
        dz = dh * (kept * (1.0 - kept))
    elif ACT == "selu":
        dz = dh * tl.where(kept > 0.0, SELU_SCALE, kept + SELU_ALPHA * SELU_SCALE)
    else:
        tl.static_assert(ACT == "gelu")
        t = tanh((kept + kept * kept * kept * GELU_CUBIC) * GELU_INNER)
        slope = (1.0 + kept * kept * (3.0 * GELU_CUBIC)) * GELU_INNER
        dz = dh * (0.5 * (1.0 + t) + 0.5 * kept * (1.0 - t * t) * slope)
    return dz
