"""The recipe about what a network receives: standardized pixels and the scaled tanh against pixels from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import fmean

from models.init.by_fans import LecunNormal
from models.network.architecture import Architecture
from models.recipes.base import Judgement, Outcome, Recipe, listed
from models.spec import SGD, TrainSpec
from models.vocabulary import Activation, InputScaling

LAYERS = 5
RATES = (0.05, 0.1, 0.2, 0.4)
NETWORKS: tuple[tuple[Activation, InputScaling], ...] = (
    ("tanh", "zero_to_one"),
    ("tanh", "standardized"),
    ("scaled_tanh", "zero_to_one"),
    ("scaled_tanh", "standardized"),
)
MOST_OF_THE_LOSS = 0.9
KEPT_ABOVE, LOST_BELOW = 0.55, 0.35
"""Rms of activations in every hidden layer; theory: .86 to .68 for the scaled tanh on standardized
pixels, .30 to .23 for tanh on pixels from 0 to 1."""


def _network(activation: Activation, inputs: InputScaling, rate: float, seed: int) -> TrainSpec:
    return TrainSpec(
        architecture=Architecture(hidden=(100,) * LAYERS, activation=activation, inputs=inputs),
        init=LecunNormal(),
        optimizer=SGD(lr=rate),
        epochs=1,
        seed=seed,
        data="mnist",
    )


def _of_network(outcomes: Sequence[Outcome], activation: Activation, inputs: InputScaling) -> list[list[Outcome]]:
    """Return the outcomes of one network at all rates, by seed."""
    own = [
        run
        for run in outcomes
        if (run.spec.architecture.activation, run.spec.architecture.inputs) == (activation, inputs)
    ]
    return [[run for run in own if run.seed == seed] for seed in dict.fromkeys(run.seed for run in own)]


def _best(of_seed: Sequence[Outcome]) -> Outcome:
    return min(of_seed, key=lambda run: run.metrics[0].train_loss_mean)


def _rms(run: Outcome) -> list[float]:
    return [layer.a_rms or 0.0 for layer in run.start.layers[:-1]]


def _standardized_learns_sooner(outcomes: Sequence[Outcome]) -> Judgement:
    best = {network: [_best(of_seed) for of_seed in _of_network(outcomes, *network)] for network in NETWORKS}
    losses = {network: [run.metrics[0].train_loss_mean for run in runs] for network, runs in best.items()}
    shares = [
        after / before
        for activation in ("tanh", "scaled_tanh")
        for after, before in zip(losses[activation, "standardized"], losses[activation, "zero_to_one"], strict=True)
    ]
    kept = [_rms(run) for run in best["scaled_tanh", "standardized"]]
    lost = [_rms(run) for run in best["tanh", "zero_to_one"]]
    table = [["activation", "inputs", "best rate", "mean loss of the epoch", "rms of activations, layers 1 to 5"]]
    for (activation, inputs), runs in best.items():
        rates = listed((run.spec.optimizer.lr for run in runs), "g")
        means = [fmean(values) for values in zip(*map(_rms, runs), strict=True)]
        of_network = listed(losses[activation, inputs], ".3f")
        table.append([activation, inputs, rates, of_network, listed(means, ".2f")])
    measured = (
        f"mean loss of the epoch at the best rate, standardized over 0 to 1: {min(shares):.2f} to {max(shares):.2f}; "
        f"rms of activations: scaled tanh on standardized pixels at least {min(map(min, kept)):.2f}, tanh on pixels "
        f"from 0 to 1 at most {max(map(max, lost)):.2f}"
    )
    holds = max(shares) <= MOST_OF_THE_LOSS and min(map(min, kept)) > KEPT_ABOVE and max(map(max, lost)) < LOST_BELOW
    return Judgement(measured, holds, table)


RECIPES = (
    Recipe(
        "R23",
        "standardized_inputs",
        "Standardized pixels let tanh networks learn sooner than pixels from 0 to 1, and the scaled tanh then keeps "
        "its signal from layer to layer",
        "LeCun, Bottou, Orr, Mueller 1998, Efficient BackProp, sections 4.3 to 4.6 (784-100x5-10, weights of variance "
        "1/n, each network at its best of four rates of SGD, one epoch here)",
        f"mean loss of the epoch at most {MOST_OF_THE_LOSS:g} times as large for both activations and every seed; "
        f"rms of activations above {KEPT_ABOVE:g} in all layers, with tanh on pixels from 0 to 1 below {LOST_BELOW:g}",
        (1, 2, 3),
        lambda seeds: [_network(*network, rate, seed) for network, rate, seed in product(NETWORKS, RATES, seeds)],
        _standardized_learns_sooner,
    ),
)
