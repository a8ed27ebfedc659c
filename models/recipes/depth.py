"""Recipes about schemes in deep networks: He against Xavier with ReLU, what Adam hides, sigmoid and tanh."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from models.init.base import Scheme
from models.init.by_fans import GlorotStandard, HeNormal, TorchDefault, XavierUniform
from models.network.architecture import Architecture
from models.recipes.base import Judgement, Outcome, Recipe, first_steps, listed, of_scheme
from models.spec import SGD, Adam, TrainSpec
from models.vocabulary import Activation

Deep = Architecture(hidden=(128,) * 30)
HE_WITHIN, XAVIER_NOT_WITHIN = 150, 400


def _deep(scheme: Scheme, optimizer: SGD | Adam, seed: int) -> TrainSpec:
    return TrainSpec(architecture=Deep, init=scheme, optimizer=optimizer, epochs=1, seed=seed, data="mnist")


def _five(scheme: Scheme, activation: Activation, epochs: int, seed: int) -> TrainSpec:
    return TrainSpec(
        architecture=Architecture(hidden=(256,) * 5, activation=activation),
        init=scheme,
        optimizer=SGD(lr=0.1),
        batch_size=50,
        epochs=epochs,
        seed=seed,
        data="mnist",
    )


def _gradient_ratios(large: Sequence[Outcome], small: Sequence[Outcome]) -> list[float]:
    """Return the ratios of the first layer's weight gradients, `large` over `small`, seed by seed."""
    return [
        (upper.start.layers[0].weight_gradient_std or 0.0) / (lower.start.layers[0].weight_gradient_std or 1e-300)
        for upper, lower in zip(large, small, strict=True)
    ]


def _he_against_xavier(outcomes: Sequence[Outcome]) -> Judgement:
    he, xavier = of_scheme(outcomes, "he_normal"), of_scheme(outcomes, "xavier_uniform")
    he_first, xavier_first = ([run.first_step_below_2 for run in group] for group in (he, xavier))
    ratios = _gradient_ratios(he, xavier)
    learns = all(step is not None and step <= HE_WITHIN for step in he_first)
    stalls = all(step is None or step > XAVIER_NOT_WITHIN for step in xavier_first)
    measured = (
        f"first step: He {first_steps(he)}, Xavier {first_steps(xavier)}; W1 gradient ratio at least {min(ratios):.0f}"
    )
    return Judgement(measured, learns and stalls and min(ratios) > 1e3)


def _adam_hides_it(outcomes: Sequence[Outcome]) -> Judgement:
    he, xavier, default = (of_scheme(outcomes, name) for name in ("he_normal", "xavier_uniform", "torch_default"))
    slower = all(
        slow.first_step_below_2 is not None
        and quick.first_step_below_2 is not None
        and slow.first_step_below_2 > quick.first_step_below_2
        for slow, quick in zip(xavier, he, strict=True)
    )
    stalls = all(run.first_step_below_2 is None for run in default)
    gradient = fmean(run.start.layers[0].weight_gradient_std or 0.0 for run in xavier)
    measured = (
        f"first step: He {first_steps(he)}, Xavier {first_steps(xavier)}, torch's default {first_steps(default)}. Adam "
        f"divides Xavier's gradient of {gradient:.0e} by its own size; torch's is below Adam's eps of 1e-8"
    )
    return Judgement(measured, slower and stalls)


def _gain_of_sigmoid(outcomes: Sequence[Outcome]) -> Judgement:
    gain_one, gain_four = (
        [outcome.accuracy for outcome in outcomes if getattr(outcome.spec.init, "gain", None) == gain]
        for gain in (1.0, 4.0)
    )
    measured = f"accuracy: gain 1 {listed(gain_one, '.4f')}; gain 4 {listed(gain_four, '.4f')}"
    return Judgement(measured, max(gain_one) < 0.25 and min(gain_four) > 0.85)


def _tanh_is_quicker(outcomes: Sequence[Outcome]) -> Judgement:
    standard, xavier = of_scheme(outcomes, "glorot_standard"), of_scheme(outcomes, "xavier_uniform")
    first = [[run.first_step_below_2 for run in group] for group in (standard, xavier)]
    ratios = _gradient_ratios(xavier, standard)
    quicker = all(
        quick is not None and (slow is None or quick < slow) for slow, quick in zip(first[0], first[1], strict=True)
    )
    measured = (
        f"first step: standard {first_steps(standard)}, normalized {first_steps(xavier)}; "
        f"W1 gradient ratio at least {min(ratios):.1f}"
    )
    return Judgement(measured, quicker and min(ratios) > 5)


RECIPES = (
    Recipe(
        "R7",
        "xavier_vs_he_30",
        "Thirty rectified layers: with He's initialization the network learns, with Xavier's it stalls",
        "He et al. 2015, figure 3 (a 30-layer convolutional network there; 784-128x30-10 here, SGD .01, momentum .9)",
        "He: loss below 2 within 150 steps in all seeds; Xavier: not within 400 in any; W1 gradient ratio > 1000",
        (0, 1, 2),
        lambda seeds: [
            _deep(scheme, SGD(lr=0.01, momentum=0.9), seed)
            for scheme in (HeNormal(), XavierUniform())
            for seed in seeds
        ],
        _he_against_xavier,
    ),
    Recipe(
        "R8",
        "adam_hides_it",
        "Adam hides the difference: it divides Xavier's tiny gradients by their own size; only torch's default still "
        "fails",
        "ours; Kingma, Ba 2015, eps = 1e-8",
        "Xavier learns within the epoch, later than He; torch's default with zero biases not within its 600 steps",
        (0, 1, 2),
        lambda seeds: [
            _deep(scheme, Adam(), seed)
            for scheme in (HeNormal(), XavierUniform(), TorchDefault(bias="zeros"))
            for seed in seeds
        ],
        _adam_hides_it,
    ),
    Recipe(
        "R9",
        "sigmoid5_gain",
        "Xavier with gain 1 does not rescue five sigmoid layers; gain 4 = 1 / sigmoid'(0) does",
        "Glorot, Bengio 2010, section 3.1: a sigmoid network of five layers never left its plateau",
        "SGD .1, 2 epochs: gain 1 below .25, gain 4 above .85, every seed",
        (0, 1, 2),
        lambda seeds: [_five(XavierUniform(gain=gain), "sigmoid", 2, seed) for gain in (1.0, 4.0) for seed in seeds],
        _gain_of_sigmoid,
    ),
    Recipe(
        "R10",
        "tanh5_standard_vs_xavier",
        "Five tanh layers start sooner from the normalized initialization than from the standard one",
        "Glorot, Bengio 2010, table 1, read as speed: its final difference of .12 points is below one standard error",
        "W1 gradient ratio > 5; loss below 2 sooner, every seed",
        (0, 1, 2),
        lambda seeds: [
            _five(scheme, "tanh", 1, seed) for scheme in (GlorotStandard(), XavierUniform()) for seed in seeds
        ],
        _tanh_is_quicker,
    ),
)
