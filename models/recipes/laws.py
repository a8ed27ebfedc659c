"""Recipes without training: the laws of weights, of one layer, and of depth, and two figures of Glorot and Bengio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from models.diagnostics.report import LayerDiagnostics
from models.init.base import Scheme
from models.init.by_fans import (
    GlorotStandard,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    TorchDefault,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
)
from models.init.fixed_scale import Normal, TruncNormal, Uniform
from models.init.structured import Orthogonal
from models.network.architecture import Architecture
from models.recipes.base import Judgement, Outcome, Recipe, listed, of_scheme
from models.spec import TrainSpec
from models.vocabulary import Activation

WIDTH, DEPTH = 512, 30
WITHIN_SD = 5.0


def _start(scheme: Scheme, seed: int, hidden: tuple[int, ...], activation: Activation = "relu") -> TrainSpec:
    """Return a spec that only initializes; the small data set is enough to measure its layers."""
    architecture = Architecture(hidden=hidden, activation=activation)
    return TrainSpec(architecture=architecture, init=scheme, epochs=0, seed=seed, data="mnist_5k")


INDEPENDENT: tuple[Scheme, ...] = (
    Normal(),
    Uniform(),
    TruncNormal(),
    GlorotStandard(),
    XavierUniform(),
    XavierNormal(),
    HeUniform(),
    HeNormal(),
    LecunUniform(),
    LecunNormal(),
    TorchDefault(),
    VarianceScaling(scale=0.5, mode="fan_out", distribution="truncated_normal"),
)


def _weights(outcomes: Sequence[Outcome]) -> Judgement:
    deviations = [
        layer.weight_variance_z for run in outcomes for layer in run.start.layers if layer.weight_variance_z is not None
    ]
    singular = [
        value - 1
        for run in outcomes
        for layer in run.start.layers
        if run.spec.init.scheme == "orthogonal"
        for value in (layer.singular_min, layer.singular_max)
        if value is not None
    ]
    worst, bent = max(map(abs, deviations)), max(map(abs, singular))
    measured = (
        f"largest |z| of {len(deviations)} matrices {worst:.2f}; singular values of orthogonal within {bent:.0e} of 1"
    )
    return Judgement(measured, worst < WITHIN_SD and bent < 1e-5)


def _local(outcomes: Sequence[Outcome]) -> Judgement:
    worst, worst_mean, count = 0.0, 0.0, 0
    for run in outcomes:
        deviations = [layer.local_z for layer in run.start.layers[:-1] if layer.local_z is not None]
        count += len(deviations)
        worst = max(worst, *map(abs, deviations))
        worst_mean = max(worst_mean, abs(fmean(deviations)) * math.sqrt(len(deviations)))
    measured = f"{count} layers: largest |z| {worst:.2f}; largest |mean| of a network {worst_mean:.2f} sd / sqrt(L)"
    return Judgement(measured, worst < WITHIN_SD and worst_mean < 4)


def _walk(outcomes: Sequence[Outcome]) -> Judgement:
    steps = [
        2 * math.log((layer.z_rms or 1e-300) / (layer.z_rms_predicted or 1e-300))
        for run in outcomes
        for layer in run.start.layers[DEPTH - 1 : DEPTH]
    ]
    expected = math.sqrt(5 * DEPTH / WIDTH)
    mean, spread = fmean(steps), stdev(steps)
    measured = f"ln(q_30 / predicted): mean {mean:+.2f}, sd {spread:.2f}, {len(steps)} seeds"
    near = abs(mean) <= 4 * expected / math.sqrt(len(steps))
    return Judgement(measured, near and expected / 2 <= spread <= 1.7 * expected)


def _figures(outcomes: Sequence[Outcome]) -> Judgement:
    """Judge figures 6 (activations) and 7 (gradients) for tanh: shares that reach the fifth layer, and the first."""
    of_tanh = [run for run in outcomes if run.spec.architecture.activation == "tanh"]
    standard, normalized = (
        [_kept(run.start.layers[:-1]) for run in of_scheme(of_tanh, name)]
        for name in ("glorot_standard", "xavier_uniform")
    )
    measured = (
        "tanh, standard / normalized: activations' sd, layer 5 over 1: "
        f"{listed((kept[0] for kept in standard), '.2f')} / {listed((kept[0] for kept in normalized), '.2f')}; "
        f"gradients, layer 1 over 5: {listed((kept[1] for kept in standard), '.2f')} / "
        f"{listed((kept[1] for kept in normalized), '.2f')}"
    )
    dies = all(share < 0.3 for kept in standard for share in kept)
    stays = all(0.5 < share < 2 for kept in normalized for share in kept)
    return Judgement(measured, dies and stays, _by_layer(outcomes))


def _kept(hidden: Sequence[LayerDiagnostics]) -> tuple[float, float]:
    """Return what is left of the activations' deviation in the fifth layer, and of the gradient in the first."""
    forward = (hidden[4].a_std or 0.0) / (hidden[0].a_std or 1.0)
    return forward, (hidden[0].dz_rms or 0.0) / (hidden[4].dz_rms or 1.0)


def _by_layer(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return both figures as a table, means over seeds."""
    rows = [["activation", "initialization", "of each layer", *(f"layer {number}" for number in range(1, 6))]]
    names = {"glorot_standard": "standard", "xavier_uniform": "normalized"}
    for activation, scheme in dict.fromkeys(
        (run.spec.architecture.activation, run.spec.init.scheme) for run in outcomes
    ):
        starts = [run.start for run in of_scheme(outcomes, scheme) if run.spec.architecture.activation == activation]
        for what, values in (
            ("sd of activations (figure 6)", [[layer.a_std or 0.0 for layer in run.layers[:-1]] for run in starts]),
            ("rms of gradients (figure 7)", [[layer.dz_rms or 0.0 for layer in run.layers[:-1]] for run in starts]),
        ):
            means = [fmean(layer) for layer in zip(*values, strict=True)]
            rows.append([activation, names[scheme], what, *(f"{mean:.2g}" for mean in means)])
    return rows


RECIPES = (
    Recipe(
        "R4",
        "weight_variance",
        "Weights have the variance of their formula; orthogonal ones have no singular value but the gain",
        "the formulas in docs/reference/schemes.md",
        "variance z-test within 5 sd for every matrix; singular values of square layers within 1e-5",
        (777,),
        lambda seeds: (
            [_start(scheme, seed, (784, 784, 400)) for scheme in INDEPENDENT for seed in seeds]
            + [_start(Orthogonal(), seed, (784, 784, 784)) for seed in seeds]
        ),
        _weights,
    ),
    Recipe(
        "R5",
        "local_chi2",
        "In each layer the mean square of z over Var(W) |h|^2 is chi-square over its degrees of freedom, at any depth",
        "independence of weights and inputs at the start; He et al. 2015, eq. 5",
        "512 x 30 ReLU: every layer within 5 sd, every network's mean within 4 sd / sqrt(30)",
        tuple(range(10)),
        lambda seeds: [
            _start(scheme, seed, (WIDTH,) * DEPTH)
            for scheme in (HeNormal(), XavierUniform(), LecunNormal())
            for seed in seeds
        ],
        _local,
    ),
    Recipe(
        "R6",
        "depth_random_walk",
        "The logarithm of the signal's size walks at random with depth, variance 5 L / n for ReLU",
        "Sussillo, Abbott 2014; Hanin, Rolnick 2018",
        "512 x 30: mean within 4 standard errors of the prediction, sd between half and 1.7 times .54",
        tuple(range(10)),
        lambda seeds: [_start(HeNormal(), seed, (WIDTH,) * DEPTH) for seed in seeds],
        _walk,
        least_seeds=2,
    ),
    Recipe(
        "R15",
        "glorot_figures",
        "Under the standard initialization activations shrink from layer to layer and gradients on their way back; "
        "under the normalized one both keep their size",
        "Glorot, Bengio 2010, figures 6 and 7 (5 x 1000, tanh; softsign and sigmoid beside)",
        "tanh: standard below .3 on both ways, normalized between .5 and 2",
        (777,),
        lambda seeds: [
            _start(scheme, seed, (1000,) * 5, activation)
            for activation in ("tanh", "softsign", "sigmoid")
            for scheme in (GlorotStandard(), XavierUniform())
            for seed in seeds
        ],
        _figures,
    ),
)
