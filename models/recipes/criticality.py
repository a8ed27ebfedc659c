"""Recipes about very deep networks: order and chaos, isometry, linear networks, and networks that are born dead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from statistics import fmean

from models.init.base import Scheme
from models.init.by_fans import HeNormal, LecunNormal, VarianceScaling
from models.init.structured import Orthogonal
from models.network.architecture import Architecture
from models.recipes.base import Judgement, Outcome, Recipe, first_steps, listed, of_scheme
from models.spec import SGD, TrainSpec

WIDTH = 200
BIAS_VARIANCE = 0.05
DEPTH_SCALES = {1.0: 3.6, 1.4: 10.7, 1.76: math.inf, 2.5: 11.8, 4.0: 7.0}
"""xi_c of tanh by sigma_w^2, at sigma_b^2 = .05, from `models.diagnostics.phase_diagram`."""
DEPTHS = (10, 30, 60, 100)
DEEPEST = 200
DEEPEST_SCALES = (1.4, 1.76, 2.5)
LEARNS_WITHIN, STALLS_BEYOND = 3, 12


def _tanh(scale: float, depth: int, seed: int) -> TrainSpec:
    return TrainSpec(
        architecture=Architecture(hidden=(WIDTH,) * depth, activation="tanh"),
        init=VarianceScaling(scale=scale, bias="normal", bias_std=math.sqrt(BIAS_VARIANCE)),
        optimizer=SGD(lr=0.003),
        epochs=1,
        seed=seed,
        data="mnist",
    )


def _phases(seeds: Sequence[int]) -> list[TrainSpec]:
    places = [*product(DEPTH_SCALES, DEPTHS), *((scale, DEEPEST) for scale in DEEPEST_SCALES)]
    return [_tanh(scale, depth, seed) for scale, depth in places for seed in seeds]


def _order_and_chaos(outcomes: Sequence[Outcome]) -> Judgement:
    """Judge that networks to 3 xi_c learn, if at most half as deep as wide, and that none beyond 12 xi_c does.

    In deeper networks of this width the theory of infinite width is not near enough to promise that they learn.
    """
    shallow, deep = True, True
    cells: dict[tuple[float, int], list[Outcome]] = {}
    for run in outcomes:
        scale, depth = getattr(run.spec.init, "scale", 0.0), len(run.spec.architecture.hidden)
        cells.setdefault((scale, depth), []).append(run)
        if depth <= WIDTH / 2 and depth <= LEARNS_WITHIN * DEPTH_SCALES[scale]:
            shallow &= run.first_step_below_2 is not None
        if depth > STALLS_BEYOND * DEPTH_SCALES[scale]:
            deep &= run.first_step_below_2 is None
    table = [["sigma_w^2 (xi_c): accuracy", *(f"depth {depth}" for depth in (*DEPTHS, DEEPEST))]]
    for scale, depth_scale in DEPTH_SCALES.items():
        row = (cells.get((scale, depth), []) for depth in (*DEPTHS, DEEPEST))
        accuracies = [listed((run.accuracy for run in runs), ".3f") for runs in row]
        table.append([f"{scale:g} ({depth_scale:g})", *accuracies])
    measured = (
        f"to {LEARNS_WITHIN} xi_c all learn: {'yes' if shallow else 'no'}; beyond {STALLS_BEYOND} xi_c none does: "
        f"{'yes' if deep else 'no'}"
    )
    return Judgement(measured, shallow and deep, table)


CRITICAL = {"scale": 1.05, "bias_std": math.sqrt(2e-5)}
"""A point of tanh's critical line near (1, 0), where orthogonal weights are near to isometry."""


def _critical(scheme: Scheme, seed: int) -> TrainSpec:
    return _tanh(1.0, 100, seed).model_copy(update={"init": scheme})


def _isometry(outcomes: Sequence[Outcome]) -> Judgement:
    orthogonal, gaussian = of_scheme(outcomes, "orthogonal"), of_scheme(outcomes, "variance_scaling")
    largest = [
        [run.start.jacobian.largest if run.start.jacobian else math.nan for run in group]
        for group in (orthogonal, gaussian)
    ]
    losses = [[run.metrics[0].train_loss_mean for run in group] for group in (orthogonal, gaussian)]
    measured = (
        f"largest singular value of the Jacobian of 100 layers: orthogonal {listed(largest[0], '.2f')}, Gaussian "
        f"{listed(largest[1], '.1f')}; mean loss of the epoch {listed(losses[0], '.3f')} and "
        f"{listed(losses[1], '.3f')}; first step: {first_steps(orthogonal)} and {first_steps(gaussian)}"
    )
    narrow, wide = all(value <= 2 for value in largest[0]), all(value >= 8 for value in largest[1])
    return Judgement(measured, narrow and wide and all(map(float.__lt__, *losses)))


LINEAR_DEPTHS = (5, 50)
RATES = (0.1, 0.2, 0.4)


def _linear(scheme: Scheme, depth: int, rate: float, seed: int) -> TrainSpec:
    return TrainSpec(
        architecture=Architecture(hidden=(100,) * depth, activation="identity"),
        init=scheme,
        optimizer=SGD(lr=rate / depth),
        epochs=1,
        seed=seed,
        data="mnist",
    )


def _best_loss(outcomes: Iterable[Outcome], depth: int, seed: int) -> float:
    """Return the least mean loss of the epoch over the rates."""
    return min(
        run.metrics[0].train_loss_mean
        for run in outcomes
        if len(run.spec.architecture.hidden) == depth and run.seed == seed
    )


def _flat_in_depth(outcomes: Sequence[Outcome]) -> Judgement:
    growth = {}
    for name in ("orthogonal", "lecun_normal"):
        group = of_scheme(outcomes, name)
        seeds = dict.fromkeys(run.seed for run in group)
        growth[name] = [_best_loss(group, 50, seed) / _best_loss(group, 5, seed) for seed in seeds]
    measured = (
        "mean loss of the epoch at the best rate, depth 50 over depth 5: orthogonal "
        f"{listed(growth['orthogonal'], '.2f')}, Gaussian {listed(growth['lecun_normal'], '.2f')}"
    )
    return Judgement(measured, max(growth["orthogonal"]) <= 1.25 and min(growth["lecun_normal"]) >= 1.4)


NARROW = ((2, 10), (2, 25), (16, 10))
"""(units, hidden layers) of the networks that may be born dead; of the last ones the bounds allow none."""


def born_dead_bounds(units: int, depth: int) -> tuple[float, float]:
    """Return the least and the largest probability that a ReLU network without biases answers 0 to every image.

    Weights are symmetric, so one image finds a layer of n units dead with probability 2^-n: at most 1 - (1 - 2^-n)^L.
    A layer behind rectifiers whose n^2 weights are all negative is dead for every image: at least
    1 - (1 - 2^(-n n))^(L - 1).
    """
    return 1 - (1 - 2.0 ** (-units * units)) ** (depth - 1), 1 - (1 - 2.0**-units) ** depth


def _born_dead(outcomes: Sequence[Outcome]) -> Judgement:
    said, holds = [], True
    for units, depth in NARROW:
        group = [run for run in outcomes if run.spec.architecture.hidden == (units,) * depth]
        share = fmean(any(layer.dead_fraction == 1 for layer in run.start.layers[:-1]) for run in group)
        low, high = born_dead_bounds(units, depth)
        holds &= low - _three_sd(low, len(group)) <= share <= high + _three_sd(high, len(group))
        said.append(f"{depth} layers of {units}: {share:.2f} of {len(group)} (theory {low:.2f} to {high:.2f})")
    return Judgement("born dead: " + ", ".join(said), holds)


def _three_sd(share: float, count: int) -> float:
    return 3 * math.sqrt(share * (1 - share) / count)


RECIPES = (
    Recipe(
        "R18",
        "order_and_chaos",
        "Tanh networks learn to a depth of a few xi_c, whether order or chaos ends them",
        "Schoenholz et al. 2017, Deep information propagation (about 6 xi_c there; 784-200xd-10, sigma_b^2 .05, SGD "
        ".003, one epoch here)",
        "to 3 xi_c all learn (loss below 2) that are at most half as deep as wide; beyond 12 xi_c none learns",
        (1,),
        _phases,
        _order_and_chaos,
    ),
    Recipe(
        "R19",
        "isometry",
        "At criticality a deep tanh network keeps all directions with orthogonal weights, not with Gaussian ones, and "
        "learns sooner",
        "Pennington, Schoenholz, Ganguli 2017; Saxe et al. 2013 (100 layers of 200, sigma_w^2 1.05, sigma_b^2 2e-5 "
        "here)",
        "largest singular value of the Jacobian at most 2 with orthogonal weights, at least 8 with Gaussian ones; a "
        "lower mean loss of the epoch for every seed",
        (1, 2),
        lambda seeds: [
            _critical(scheme, seed)
            for scheme in (
                Orthogonal(gain=math.sqrt(CRITICAL["scale"]), bias="normal", bias_std=CRITICAL["bias_std"]),
                VarianceScaling(scale=CRITICAL["scale"], bias="normal", bias_std=CRITICAL["bias_std"]),
            )
            for seed in seeds
        ],
        _isometry,
    ),
    Recipe(
        "R20",
        "linear_depth",
        "Deep linear networks learn as fast as shallow ones from orthogonal weights, not from Gaussian ones",
        "Saxe et al. 2013 (each network at its best rate; the best of three for one epoch, 100 units a layer here)",
        "mean loss of the epoch at the best rate, 50 layers over 5: orthogonal at most 1.25, Gaussian at least 1.4",
        (1, 2, 3),
        lambda seeds: [
            _linear(scheme, depth, rate, seed)
            for scheme in (Orthogonal(), LecunNormal())
            for depth in LINEAR_DEPTHS
            for rate in RATES
            for seed in seeds
        ],
        _flat_in_depth,
    ),
    Recipe(
        "R21",
        "born_dead",
        "Deep, narrow ReLU networks are often dead before training: they answer the same to every image; wide ones are "
        "not",
        "Lu, Shin, Su, Karniadakis 2019, Dying ReLU and initialization",
        "the share of dead networks is between the lower and the upper bound, within 3 binomial sd",
        tuple(range(100)),
        lambda seeds: [
            TrainSpec(
                architecture=Architecture(hidden=(units,) * depth),
                init=HeNormal(),
                epochs=0,
                seed=seed,
                data="mnist_5k",
            )
            for units, depth in NARROW
            for seed in seeds
        ],
        _born_dead,
        least_seeds=20,
    ),
)
