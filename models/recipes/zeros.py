"""Recipes about zeros: why they cannot learn, and where a course note is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from models.init.constants import Zeros
from models.network.architecture import Architecture
from models.recipes.base import Judgement, Outcome, Recipe, listed
from models.spec import SGD, Adam, TrainSpec
from models.vocabulary import Activation

SHARE_OF_ONES = 0.1135
ENTROPY_OF_PRIORS = 2.3012


def _zeros(activation: Activation, seed: int) -> TrainSpec:
    return TrainSpec(
        architecture=Architecture(hidden=(64, 64), activation=activation),
        init=Zeros(),
        optimizer=SGD(lr=0.1),
        epochs=1,
        seed=seed,
        data="mnist",
    )


def _only_the_output_bias(outcomes: Sequence[Outcome]) -> Judgement:
    moved = [
        layer.layer
        for run in outcomes
        for layer in run.end.layers
        if layer.weight_absmax != 0 or (layer.layer < 3 and layer.bias_absmax != 0)
    ]
    losses = [run.evaluation.mean_negative_log_likelihood or 99.0 for run in outcomes]
    exact = all(run.accuracy == SHARE_OF_ONES for run in outcomes)
    near = all(abs(loss - ENTROPY_OF_PRIORS) <= 0.02 for loss in losses)
    biases = [run.end.layers[-1].bias_absmax or 0.0 for run in outcomes]
    measured = (
        f"accuracy {listed((run.accuracy for run in outcomes), '.4f')}, loss {listed(losses, '.4f')}; parameters that "
        f"moved besides the output bias: {len(moved)}"
    )
    return Judgement(measured, not moved and exact and near and all(biases))


def _one_unit_a_layer(outcomes: Sequence[Outcome]) -> Judgement:
    units = [[layer.distinct_units for layer in run.end.layers] for run in outcomes]
    moved = all((layer.weight_absmax or 0) > 0 for run in outcomes for layer in run.end.layers)
    holds = moved and all(hidden == 1 for run in units for hidden in run[:-1]) and all(run[-1] > 1 for run in units)
    return Judgement(f"different units by layer: {units[0]}; every weight matrix moved: {moved}", holds)


def _learns(outcomes: Sequence[Outcome]) -> Judgement:
    accuracies = [run.accuracy for run in outcomes]
    return Judgement(f"accuracy {listed(accuracies, '.4f')}", min(accuracies) > 0.90)


RECIPES = (
    Recipe(
        "R1",
        "zeros_bias_only",
        "With ReLU or tanh and zero weights and biases only the output bias learns: the answer is 1 for every image",
        "the course note says every gradient is zero; the output bias's is not",
        "exact: nothing else moves, accuracy .1135; loss within .02 of the priors' entropy, 2.3012",
        (777,),
        lambda seeds: [_zeros(activation, seed) for activation in ("relu", "tanh") for seed in seeds],
        _only_the_output_bias,
    ),
    Recipe(
        "R2",
        "zeros_sigmoid_symmetry",
        "With sigmoid, zeros move in every weight matrix, and each hidden layer stays one and the same unit",
        "symmetry: Goodfellow, Bengio, Courville 2016, section 8.4",
        "exact: one different unit in each hidden layer after an epoch, more in the output layer",
        (777,),
        lambda seeds: [_zeros("sigmoid", seed) for seed in seeds],
        _one_unit_a_layer,
    ),
    Recipe(
        "R3",
        "zeros_with_random_bias",
        "Zero weights with torch's random biases do learn: the lesson of zeros needs zero biases too",
        "ours; the course's notebooks keep torch's biases",
        "accuracy > .90 after one epoch, every seed",
        (777, 0, 1),
        lambda seeds: [
            TrainSpec(
                init=Zeros(bias="torch_default", break_symmetry_by_bias=True),
                optimizer=Adam(),
                epochs=1,
                seed=seed,
                data="mnist",
            )
            for seed in seeds
        ],
        _learns,
    ),
)
