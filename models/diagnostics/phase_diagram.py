"""The order-chaos diagram of wide networks: fixed points and depth scales over (sigma_w, sigma_b).

sigma_w^2 = n Var(W) and sigma_b^2 = Var(b). From layer to layer the mean square q of z and the correlation c of two
inputs with that q follow maps (Poole et al. 2016; Schoenholz et al. 2017, eq. 3 to 10):

    q -> V(q) = sigma_w^2 E phi(sqrt(q) Z)^2 + sigma_b^2          q* = V(q*)
    c -> C(c) = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q*      c* = C(c*), which all c < 1 reach
    chi = C'(1) = sigma_w^2 E phi'(sqrt(q*) Z)^2                  order below 1 (c* = 1), chaos above (c* < 1)
    1 / xi_q = -ln V'(q*),  1 / xi_c = -ln C'(c*)                 layers in which a difference falls to 1 / e

Signals tell two images apart only as deep as a few xi_c, and the square of a gradient changes by chi a layer. All holds
in the mean over networks, in the limit of infinite width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.diagnostics.correlation_map import TERMS, activated, squared_coefficients_of
from models.diagnostics.gaussian_means import (
    SLOPES_BELOW_ZERO,
    mean_of_square,
    mean_of_squared_slope,
    normal_grid,
    slopes,
)
from models.diagnostics.phase import CriticalPoint, Phase, PhaseDiagram, PhaseRequest, SchemePlace
from models.init import SCHEMES
from models.vocabulary import Activation

Values = NDArray[np.float64]

POINTS = 1000
POINTS_AT_ONCE = 256
START_Q = 1.0
UNBOUNDED_Q = 1e8
NO_Q = 1e-12
"""A mean square below which a signal counts as gone; slopes at 0 are taken here."""
MAX_ITERATIONS = 120
NEWTON_STEPS = 50
BISECTIONS = 60
SAME_Q = 0.02
SETTLED = 1e-12
CRITICAL_WITHIN = 1e-4
LINE_OF_Q = np.geomspace(1e-5, 1e3, 97)
DIGITS = 6


class _Means(NamedTuple):
    """Over z ~ N(0, q), for each of P values of q: E phi^2, its derivative by q, and E phi'^2."""

    square: Values
    square_by_q: Values
    squared_slope: Values


class _FixedPoints(NamedTuple):
    """q*, V'(q*), chi, c* and C'(c*) of P points.

    q* is infinite where the signal grows without end, and the others are NaN; c* and C'(c*) are NaN where q* is 0 too.
    """

    q: Values
    v_slope: Values
    chi: Values
    c: Values
    c_slope: Values


def phase_diagram(request: PhaseRequest) -> PhaseDiagram:
    """Return the diagram of a grid, its critical line, and where the schemes stand."""
    sigma_w, sigma_b = np.array(request.sigma_w), np.array(request.sigma_b)
    found = fixed_points(request.activation, *(side.ravel() for side in np.meshgrid(sigma_w, sigma_b)))
    shape = (len(sigma_b), len(sigma_w))
    phases = np.array([_phase(q, chi) for q, chi in zip(found.q, found.chi, strict=True)]).reshape(shape)
    return PhaseDiagram(
        activation=request.activation,
        sigma_w=list(request.sigma_w),
        sigma_b=list(request.sigma_b),
        phase=phases.tolist(),
        q=_rows(found.q, shape),
        c=_rows(found.c, shape),
        chi=_rows(found.chi, shape),
        xi_q=_rows(_depth_scale(found.v_slope), shape),
        xi_c=_rows(_depth_scale(found.c_slope), shape),
        critical_line=[
            point
            for point in critical_line(request.activation)
            if sigma_w.min() <= point.sigma_w <= sigma_w.max() and sigma_b.min() <= point.sigma_b <= sigma_b.max()
        ],
        schemes=_places(request.activation, request.width),
    )


def fixed_points(activation: Activation, sigma_w: Values, sigma_b: Values) -> _FixedPoints:
    """Return the fixed points of the maps for P pairs (sigma_w, sigma_b), reached from q = 1 and c = 0."""
    pieces = [
        _fixed_points(activation, sigma_w[first : first + POINTS_AT_ONCE], sigma_b[first : first + POINTS_AT_ONCE])
        for first in range(0, len(sigma_w), POINTS_AT_ONCE)
    ]
    return _FixedPoints(*map(np.concatenate, zip(*pieces, strict=True)))


def _fixed_points(activation: Activation, sigma_w: Values, sigma_b: Values) -> _FixedPoints:
    weights, biases = sigma_w**2, sigma_b**2
    with np.errstate(all="ignore"):  # points without a fixed point run to infinity and are masked below
        q = _fixed_q(activation, weights, biases)
        bounded = np.isfinite(q)
        means = _means(activation, np.where(bounded, q, START_Q))
        chi = weights * means.squared_slope
        c, c_slope = _fixed_c(activation, weights, biases, np.where(bounded, q, START_Q), chi)
    nothing = np.where(bounded, 0.0, np.nan)
    # Where the signal dies its direction does not settle: near 0 an activation is linear, and keeps angles.
    keeps_angles = (q == 0) | ((activation == "identity") & (biases == 0))
    no_angle = nothing + np.where(keeps_angles, np.nan, 0.0)
    v_slope = weights * means.square_by_q
    return _FixedPoints(q, v_slope + nothing, chi + nothing, c + no_angle, c_slope + no_angle)


def critical_line(activation: Activation) -> list[CriticalPoint]:
    """Return points of the line chi = 1, from small q* to large.

    For every q, sigma_w^2 = 1 / E phi'(sqrt(q) Z)^2 makes chi = 1, and sigma_b^2 = q - sigma_w^2 E phi(sqrt(q) Z)^2
    makes q a fixed point. Points whose q layers do not reach are left out. Rectifiers have one point, without biases.
    """
    if activation in SLOPES_BELOW_ZERO:
        return [CriticalPoint(sigma_w=mean_of_squared_slope(activation, START_Q) ** -0.5, sigma_b=0.0, q=START_Q)]
    line = []
    for q in LINE_OF_Q.tolist():
        weight = 1 / mean_of_squared_slope(activation, q)
        bias = q - weight * mean_of_square(activation, q)
        if bias >= -SETTLED * q:
            line.append(CriticalPoint(sigma_w=math.sqrt(weight), sigma_b=math.sqrt(max(bias, 0.0)), q=q))
    with np.errstate(all="ignore"):
        squares = (np.array([one.sigma_w for one in line]) ** 2, np.array([one.sigma_b for one in line]) ** 2)
        reached = _fixed_q(activation, *squares) if line else np.array([])
    return [one for one, q in zip(line, reached.tolist(), strict=True) if abs(q - one.q) <= SAME_Q * one.q]


def _fixed_q(activation: Activation, weights: Values, biases: Values) -> Values:
    """Return q*, reached from `START_Q`; infinite where q grows without end."""
    if activation in SLOPES_BELOW_ZERO:  # V is linear
        slope = weights * (1 + SLOPES_BELOW_ZERO[activation] ** 2) / 2
        still = np.where(np.isclose(slope, 1.0, rtol=1e-12) & (biases == 0), START_Q, np.inf)
        return np.where(slope < 1 - 1e-12, biases / (1 - slope), still)
    q, moving = np.full_like(weights, START_Q), np.arange(len(weights))
    for _ in range(MAX_ITERATIONS):
        at, means = q[moving], _means(activation, q[moving])
        value, slope = weights[moving] * means.square + biases[moving], weights[moving] * means.square_by_q
        newton = at + (value - at) / (1 - slope)
        # Newton's step where it goes the way of the map, and not further than a factor of 10; else the map's own.
        goes_on = (slope < 1) & (newton > at / 10) & (newton < at * 10)
        q[moving] = new = np.where(goes_on, newton, value)
        moving = moving[(np.abs(new - at) > SETTLED * new) & (new > NO_Q) & (new < UNBOUNDED_Q)]
        if len(moving) == 0:
            break
    q[moving] = _settled(activation, weights[moving], biases[moving], q[moving])
    return np.where(q >= UNBOUNDED_Q, np.inf, np.where(q <= NO_Q, 0.0, q))


def _settled(activation: Activation, weights: Values, biases: Values, q: Values) -> Values:
    """Return the fixed points of maps that still rise slowly at q, by bisection; `UNBOUNDED_Q` if none is below it."""
    low, high = q, np.full_like(q, UNBOUNDED_Q)
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        rises = weights * _means(activation, middle).square + biases > middle
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    return np.where(high > UNBOUNDED_Q / 2, UNBOUNDED_Q, high)


def _fixed_c(activation: Activation, weights: Values, biases: Values, q: Values, chi: Values) -> tuple[Values, Values]:
    """Return c* and C'(c*): 1 and chi in order, else by Newton's method from c = 0.

    C is a power series with no negative coefficient, hence convex: from below, Newton's steps rise to the first root.
    """
    c, slope = np.ones_like(q), chi.copy()
    chaotic = np.flatnonzero(chi > 1 + CRITICAL_WITHIN) if activation not in SLOPES_BELOW_ZERO else np.array([], int)
    if len(chaotic) == 0:
        return c, slope
    squares, rest = squared_coefficients_of(activation, q[chaotic])
    terms = np.hstack([squares, rest[:, None]]) * (weights / q)[chaotic, None]
    terms[:, 0] += (biases / q)[chaotic]
    orders = np.arange(TERMS + 2)
    at = np.zeros(len(chaotic))
    for _ in range(NEWTON_STEPS):
        value = (terms * at[:, None] ** orders).sum(1)
        of_c = (terms[:, 1:] * orders[1:] * at[:, None] ** orders[:-1]).sum(1)
        step = np.where(of_c < 1, (value - at) / (1 - of_c), 0.0)
        at = np.clip(at + step, 0.0, 1.0)
        if np.abs(step).max() < SETTLED:
            break
    c[chaotic], slope[chaotic] = np.where(at < SETTLED, 0.0, at), of_c
    return c, slope


def _means(activation: Activation, q: Values) -> _Means:
    z, density = (side.numpy() for side in normal_grid(POINTS))
    scaled = np.sqrt(np.maximum(q, NO_Q))[:, None] * z
    values, slope = activated(activation, scaled), slopes(activation, torch.from_numpy(scaled)).numpy()
    by_q = (values * slope * z) @ density / np.sqrt(np.maximum(q, NO_Q))
    return _Means(values**2 @ density, by_q, slope**2 @ density)


def _depth_scale(slope: Values) -> Values:
    """Return -1 / ln |slope|; infinite where the slope is 1 or more."""
    with np.errstate(all="ignore"):
        scale = np.where(np.abs(slope) < 1 - CRITICAL_WITHIN, -1 / np.log(np.abs(slope)), np.inf)
    return np.where(np.isnan(slope), np.nan, scale)


def _phase(q: float, chi: float) -> Phase:
    if not math.isfinite(q):
        return "unbounded"
    if abs(chi - 1) <= CRITICAL_WITHIN:
        return "critical"
    return "ordered" if chi < 1 else "chaotic"


def _rows(values: Values, shape: tuple[int, int]) -> list[list[float | None]]:
    def shown(value: float) -> float | None:
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None

    return [[shown(value) for value in row] for row in values.reshape(shape).tolist()]


def _places(activation: Activation, width: int) -> list[SchemePlace]:
    """Return n Var(W) of every scheme with its default parameters, where it is known and theory applies."""
    places = []
    for name, kind in SCHEMES.items():
        scheme = kind.model_validate({"scheme": name})
        if not scheme.keeps_signal_theory or scheme.misfit((width, width), activation):
            continue
        variance = scheme.weight_variance(width, width, activation)
        if variance:
            sigma_b = math.sqrt(scheme.bias_variance(width))
            places.append(SchemePlace(scheme=name, sigma_w=math.sqrt(width * variance), sigma_b=sigma_b))
    return places
