"""Recipes about pre-training by restricted Boltzmann machines: its effect with depth, and at full size."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from models.init.base import Scheme
from models.init.by_fans import GlorotStandard, XavierUniform
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.recipes.base import Judgement, Outcome, Recipe, listed, of_scheme
from models.spec import Adam, TrainSpec

DEPTHS = (2, 3, 4, 5)
SMALL_DBN = Dbn(rbm_epochs=3)
SCHEMES: tuple[Scheme, ...] = (SMALL_DBN, GlorotStandard(), XavierUniform())
FULL_SIZE = (500, 500, 2000)
REACHED_PERCENT, ACCEPTED_PERCENT = 1.25, 1.40


def _sigmoid(scheme: Scheme, depth: int, seed: int) -> TrainSpec:
    architecture = Architecture(hidden=(256,) * depth, activation="sigmoid")
    return TrainSpec(architecture=architecture, init=scheme, optimizer=Adam(), epochs=3, seed=seed, data="mnist")


def _at_depth(outcomes: Sequence[Outcome], scheme: str, depth: int) -> list[float]:
    matching = of_scheme(outcomes, scheme)
    return [run.error_percent for run in matching if len(run.spec.architecture.hidden) == depth]


def _with_depth(outcomes: Sequence[Outcome]) -> Judgement:
    names = ("dbn", "glorot_standard", "xavier_uniform")
    means = {name: [fmean(_at_depth(outcomes, name, depth)) for depth in DEPTHS] for name in names}
    deepest = [_at_depth(outcomes, name, DEPTHS[-1]) for name in names]
    ahead = min(min(s, x) - p for p, s, x in zip(*deepest, strict=True))
    falls = means["dbn"][-1] < means["dbn"][0]
    stays = all(means[name][-1] >= means[name][0] for name in names[1:])
    measured = (
        f"mean % error at depth {listed(DEPTHS)}: pre-trained {listed(means['dbn'], '.2f')}, standard "
        f"{listed(means['glorot_standard'], '.2f')}, Xavier {listed(means['xavier_uniform'], '.2f')}; "
        f"at depth 5 ahead of both by at least {ahead:.2f} points"
    )
    table = [["mean % test error (of each seed)", *(f"depth {depth}" for depth in DEPTHS)]]
    for name, values in means.items():
        each = [listed(_at_depth(outcomes, name, depth), ".2f") for depth in DEPTHS]
        table.append([name, *(f"{mean:.2f} ({errors})" for mean, errors in zip(values, each, strict=True))])
    return Judgement(measured, falls and stays and ahead > 1, table)


def _full(outcomes: Sequence[Outcome]) -> Judgement:
    errors = [run.error_percent for run in outcomes]
    mean = fmean(errors)
    reached = "reached" if mean <= REACHED_PERCENT else "not reached"
    measured = f"mean {mean:.2f} % of {listed(errors, '.2f')}; 1.25 % is {reached}"
    return Judgement(measured, mean <= ACCEPTED_PERCENT)


RECIPES = (
    Recipe(
        "R13",
        "pretrain_depth",
        "With pre-training the error falls with depth; without it does not",
        "Erhan et al. 2010, figure 1 (shape only; 784-256xd-10 sigmoid, 3 epochs a machine, 3 of fine-tuning here)",
        "pre-trained lower at depth 5 than at 2, others not; at depth 5 ahead of both by > 1 point for every seed",
        (0, 1, 2),
        lambda seeds: [_sigmoid(scheme, depth, seed) for depth in DEPTHS for scheme in SCHEMES for seed in seeds],
        _with_depth,
    ),
    Recipe(
        "R14",
        "dbn_full",
        "784-500-500-2000-10 pre-trained as a deep belief network: 1.25 % test error",
        "Hinton, Osindero, Teh 2006 (fine-tuned generatively, for 359 epochs; by backpropagation here, as Hinton, "
        "Salakhutdinov 2006, 1.2 %)",
        "mean error at most 1.40 %; 1.25 % or less is reached",
        (0, 1, 2),
        lambda seeds: [
            TrainSpec(
                architecture=Architecture(hidden=FULL_SIZE, activation="sigmoid"),
                init=Dbn(rbm_epochs=15),
                optimizer=Adam(lr=1e-3),
                lr_schedule="linear",
                epochs=20,
                seed=seed,
                data="mnist",
            )
            for seed in seeds
        ],
        _full,
    ),
)
