"""Recipes: whole, valid, and judges that can say no."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.data.mnist import DataSet
from models.diagnostics.phase_diagram import fixed_points
from models.diagnostics.report import JacobianSpectrum
from models.evaluation.evaluate import evaluate
from models.recipes import LONG, RECIPES, Outcome, Recipe
from models.recipes.base import first_steps, listed
from models.recipes.criticality import BIAS_VARIANCE, CRITICAL, DEPTH_SCALES, born_dead_bounds
from models.results import EpochMetrics, Evaluation
from models.spec import TrainSpec
from models.training.train import Training


def outcome(spec: TrainSpec, data: DataSet) -> Outcome:
    training = Training([spec], data, torch.device("cpu"))
    metrics, looks = [], [training.diagnose(0)]
    while not training.finished:
        metrics.append(training.run_epoch()[0])
        looks.append(training.diagnose(0))
    return Outcome(spec, metrics, looks, evaluate(training.network(0), data))


def with_accuracy(of: Outcome, accuracy: float, **metrics: Any) -> Outcome:
    evaluation: Evaluation = of.evaluation.model_copy(update={"accuracy": accuracy})
    changed = [one.model_copy(update=metrics) for one in of.metrics]
    return dataclasses.replace(of, evaluation=evaluation, metrics=changed)


def test_the_recipes_are_all_there() -> None:
    assert set(RECIPES) == {f"R{number}" for number in range(1, 24)} - {"R16"}  # withdrawn
    assert set(RECIPES) >= LONG
    assert len({recipe.title for recipe in RECIPES.values()}) == 22


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda one: one.name)
def test_every_recipe_says_what_it_claims_and_its_members_are_specs_of_the_asked_seeds(recipe: Recipe) -> None:
    for text in (recipe.claim, recipe.source, recipe.expected):
        assert len(text) > 3
    members = recipe.members([5, 6])
    assert {spec.seed for spec in members} == {5, 6}
    assert len({spec.model_dump_json() for spec in members}) == len(members)
    for spec in members:
        assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec
        assert not spec.test_curve


def test_a_loss_that_was_never_below_2_is_said_with_the_steps_that_were_taken(sample: Outcome) -> None:
    assert listed([1.5, 2], ".2f") == "1.50 / 2.00"
    steps = len(sample.metrics) * sample.spec.steps_per_epoch
    assert steps == 40  # an epoch of mnist_5k
    seen, unseen = (with_accuracy(sample, 0.5, first_step_below_2=step) for step in (12, None))
    assert first_steps([seen, unseen]) == "12 / not in 40"


@pytest.mark.parametrize("name", ["R4"])
def test_recipes_of_the_start_hold_and_see_a_wrong_variance(name: str, five_thousand: DataSet) -> None:
    recipe = RECIPES[name]
    outcomes = [outcome(spec, five_thousand) for spec in recipe.members([1])]
    assert recipe.judge(outcomes).holds
    layer = outcomes[0].start.layers[0].model_copy(update={"weight_variance_z": 5.5})
    look = outcomes[0].start.model_copy(update={"layers": [layer]})
    assert not recipe.judge([dataclasses.replace(outcomes[0], diagnostics=[look]), *outcomes[1:]]).holds


@pytest.fixture(scope="module")
def sample(few: DataSet) -> Outcome:
    return outcome(TrainSpec(architecture={"hidden": (8, 8)}, epochs=1, data="mnist_5k"), few)


def as_if(recipe: Recipe, sample: Outcome, results: list[tuple[float, int | None, float]]) -> list[Outcome]:
    """Return outcomes of a recipe's members with accuracy, first step and first layer's gradient as given."""
    found = []
    for spec, (accuracy, first, gradient) in zip(recipe.members([0]), results, strict=True):
        layers = [one.model_copy(update={"weight_gradient_std": gradient}) for one in sample.start.layers]
        look = sample.start.model_copy(update={"layers": layers})
        changed = with_accuracy(sample, accuracy, first_step_below_2=first)
        found.append(dataclasses.replace(changed, spec=spec, diagnostics=[look]))
    return found


@pytest.mark.parametrize(
    ("name", "results", "holds"),
    [
        ("R3", [(0.93, 9, 1)], True),
        ("R3", [(0.89, 9, 1)], False),
        ("R7", [(0.7, 46, 2e-3), (0.1135, None, 2e-7)], True),
        ("R7", [(0.7, 46, 2e-3), (0.3, 401, 2e-7)], True),
        ("R7", [(0.7, 151, 2e-3), (0.1135, None, 2e-7)], False),
        ("R7", [(0.7, 46, 2e-3), (0.1135, 400, 2e-7)], False),
        ("R7", [(0.7, 46, 2e-3), (0.1135, None, 2e-4)], False),
        ("R8", [(0.9, 23, 1), (0.6, 80, 1e-7), (0.1, None, 1e-14)], True),
        ("R8", [(0.9, 23, 1), (0.6, None, 1e-7), (0.1, None, 1e-14)], False),
        ("R8", [(0.9, 23, 1), (0.6, 80, 1e-7), (0.1, 500, 1e-14)], False),
        ("R9", [(0.1135, None, 1), (0.91, 82, 1)], True),
        ("R9", [(0.3, None, 1), (0.91, 82, 1)], False),
        ("R9", [(0.1135, None, 1), (0.84, 82, 1)], False),
        ("R10", [(0.91, 68, 1e-4), (0.94, 7, 1e-3)], True),
        ("R10", [(0.91, 6, 1e-4), (0.94, 7, 1e-3)], False),
        ("R10", [(0.91, 68, 1e-4), (0.94, 7, 4e-4)], False),
        ("R14", [(0.9876, 1, 1)], True),
        ("R14", [(0.9874, 1, 1)], False),
        ("R22", [(0.97, 1, 1), (0.96, 1, 1), (0.958, 1, 1)], True),
        ("R22", [(0.97, 1, 1), (0.966, 1, 1), (0.964, 1, 1)], False),
        ("R22", [(0.97, 1, 1), (0.96, 1, 1), (0.953, 1, 1)], False),
    ],
)
def test_judges_hold_to_their_bounds(
    name: str, results: list[tuple[float, int | None, float]], holds: bool, sample: Outcome
) -> None:
    judgement = RECIPES[name].judge(as_if(RECIPES[name], sample, results))
    assert judgement.holds is holds, judgement.measured


def test_the_notebooks_bounds_are_on_means(sample: Outcome) -> None:
    def judged(name: str, accuracies: list[float], cost: float) -> bool:
        recipe = RECIPES[name]
        made = [
            dataclasses.replace(with_accuracy(sample, accuracy, train_loss_mean=cost), spec=spec)
            for accuracy, spec in zip(accuracies, recipe.members([0, 1]), strict=True)
        ]
        return recipe.judge(made).holds

    assert judged("R11", [0.974, 0.982], 0.25)
    assert not judged("R11", [0.974, 0.976], 0.25)
    assert not judged("R11", [0.978, 0.98], 0.27)
    assert judged("R12", [0.94, 0.945, 0.975, 0.98], 130)
    assert not judged("R12", [0.94, 0.945, 0.959, 0.98], 130)
    assert not judged("R12", [0.94, 0.945, 0.975, 0.98], 109)
    assert not judged("R12", [0.94, 0.945, 0.975, 0.98], 191)


@pytest.mark.parametrize(("accuracy", "cost", "holds"), [(0.98, 0.21, True), (0.976, 0.21, False), (0.98, 0.3, False)])
def test_the_deep_notebook_is_judged_by_its_own_number(
    accuracy: float, cost: float, holds: bool, sample: Outcome
) -> None:
    recipe = RECIPES["R17"]
    made = [
        dataclasses.replace(with_accuracy(sample, accuracy, train_loss_mean=cost), spec=spec)
        for spec in recipe.members([0, 1])
    ]
    assert recipe.judge(made).holds is holds


def test_the_depth_scales_of_the_recipe_are_those_of_the_theory() -> None:
    scales = [scale for scale in DEPTH_SCALES if scale != 1.76]
    found = fixed_points("tanh", np.sqrt(scales), np.full(len(scales), math.sqrt(BIAS_VARIANCE)))
    assert (-1 / np.log(found.c_slope)).tolist() == pytest.approx([DEPTH_SCALES[scale] for scale in scales], abs=0.05)
    critical = fixed_points(
        "tanh", np.sqrt([1.76, CRITICAL["scale"]]), np.array([math.sqrt(BIAS_VARIANCE), CRITICAL["bias_std"]])
    )
    assert critical.chi.tolist() == pytest.approx([1, 1], abs=2e-3)


def test_order_and_chaos_are_judged_to_three_scales_and_beyond_twelve(sample: Outcome) -> None:
    recipe = RECIPES["R18"]

    def judged(learned: Callable[[float, int], bool]) -> bool:
        made = []
        for spec in recipe.members([1]):
            scale, depth = getattr(spec.init, "scale", 0.0), len(spec.architecture.hidden)
            step = 50 if learned(scale, depth) else None
            made.append(dataclasses.replace(with_accuracy(sample, 0.5, first_step_below_2=step), spec=spec))
        judgement = recipe.judge(made)
        assert len(judgement.table) == 1 + len(DEPTH_SCALES)
        return judgement.holds

    assert judged(lambda scale, depth: depth <= 6 * DEPTH_SCALES[scale])
    assert judged(lambda scale, depth: depth <= 6 * DEPTH_SCALES[scale] and depth < 200)  # deeper than half the width
    assert not judged(lambda scale, depth: depth <= 6 * DEPTH_SCALES[scale] and depth < 100)
    assert not judged(lambda scale, depth: depth <= 2 * DEPTH_SCALES[scale])
    assert not judged(lambda scale, depth: depth <= 20 * DEPTH_SCALES[scale])


@pytest.mark.parametrize(
    ("largest", "losses", "holds"),
    [((1.5, 12), (0.5, 0.8), True), ((2.5, 12), (0.5, 0.8), False), ((1.5, 7), (0.5, 0.8), False),
     ((1.5, 12), (0.8, 0.5), False)],
)  # fmt: skip
def test_isometry_is_judged_by_the_spectrum_and_the_speed(
    largest: tuple[float, float], losses: tuple[float, float], holds: bool, sample: Outcome
) -> None:
    recipe = RECIPES["R19"]
    made = []
    for spec, value, loss in zip(recipe.members([1]), largest, losses, strict=True):
        spectrum = JacobianSpectrum(least=0.1, median=1, largest=value, mean_square=1)
        start = sample.start.model_copy(update={"jacobian": spectrum})
        changed = with_accuracy(sample, 0.5, train_loss_mean=loss)
        made.append(dataclasses.replace(changed, spec=spec, diagnostics=[start]))
    assert recipe.judge(made).holds is holds


@pytest.mark.parametrize(("orthogonal", "gaussian", "holds"), [(1.2, 1.5, True), (1.3, 1.5, False), (1.2, 1.3, False)])
def test_linear_networks_are_judged_at_the_best_rate_of_each(
    orthogonal: float, gaussian: float, holds: bool, sample: Outcome
) -> None:
    made = []
    for spec in RECIPES["R20"].members([1, 2]):
        growth = orthogonal if spec.init.scheme == "orthogonal" else gaussian
        deep = len(spec.architecture.hidden) == 50
        is_best = spec.optimizer.lr == pytest.approx(0.2 / len(spec.architecture.hidden))
        loss = 0.5 * (growth if deep else 1) * (1 if is_best else 3)
        made.append(dataclasses.replace(with_accuracy(sample, 0.5, train_loss_mean=loss), spec=spec))
    assert RECIPES["R20"].judge(made).holds is holds


@pytest.mark.parametrize(
    ("shares", "kept", "lost", "holds"),
    [
        ((0.8, 0.85), 0.7, 0.3, True),
        ((0.8, 0.95), 0.7, 0.3, False),
        ((0.95, 0.8), 0.7, 0.3, False),
        ((0.8, 0.85), 0.5, 0.3, False),
        ((0.8, 0.85), 0.7, 0.4, False),
    ],
)
def test_standardized_inputs_are_judged_for_each_activation_at_its_best_rate(
    shares: tuple[float, float], kept: float, lost: float, holds: bool, sample: Outcome
) -> None:
    made = []
    for spec in RECIPES["R23"].members([1, 2]):
        of = spec.architecture
        share = shares[of.activation == "scaled_tanh"] if of.inputs == "standardized" else 1.0
        loss = 0.3 * share * (1 if spec.optimizer.lr == 0.1 else 2)
        rms = kept if (of.activation, of.inputs) == ("scaled_tanh", "standardized") else lost
        layers = [one.model_copy(update={"a_rms": rms}) for one in sample.start.layers]
        start = sample.start.model_copy(update={"layers": layers})
        changed = with_accuracy(sample, 0.5, train_loss_mean=loss)
        made.append(dataclasses.replace(changed, spec=spec, diagnostics=[start]))
    judgement = RECIPES["R23"].judge(made)
    assert judgement.holds is holds
    assert [row[2] for row in judgement.table[1:]] == ["0.1 / 0.1"] * 4


def test_born_dead_networks_are_counted_against_bounds_that_a_simulation_confirms(sample: Outcome) -> None:
    assert born_dead_bounds(1, 3) == pytest.approx((0.75, 0.875))
    stream, dead = torch.Generator().manual_seed(0), 0
    for _ in range(2000):
        h = torch.rand(30, 2, generator=stream)
        for _layer in range(6):
            h = (h @ torch.randn(2, 2, generator=stream)).relu()
        dead += int(not h.any())
    low, high = born_dead_bounds(2, 6)
    assert low < dead / 2000 < high

    def judged(share: float, wide: float = 0.0) -> bool:
        made = []
        for number, spec in enumerate(RECIPES["R21"].members(range(100))):
            dead = {10: share, 25: 0.97}[len(spec.architecture.hidden)] if spec.architecture.hidden[0] == 2 else wide
            gone = 1.0 if number % 100 < 100 * dead else 0.5
            layers = [one.model_copy(update={"dead_fraction": gone}) for one in sample.start.layers]
            start = sample.start.model_copy(update={"layers": layers})
            made.append(dataclasses.replace(sample, spec=spec, diagnostics=[start]))
        return RECIPES["R21"].judge(made).holds

    assert judged(0.6)
    assert not judged(0.2)
    assert not judged(0.6, wide=0.05)


def test_pretraining_with_depth_is_judged_by_shape_and_distance(sample: Outcome) -> None:
    recipe = RECIPES["R13"]

    def judged(errors: dict[str, list[float]]) -> bool:
        made = []
        for spec in recipe.members([0]):
            depth = len(spec.architecture.hidden)
            error = errors[spec.init.scheme][depth - 2]
            made.append(dataclasses.replace(with_accuracy(sample, 1 - error / 100), spec=spec))
        return recipe.judge(made).holds

    seen = {
        "dbn": [2.9, 2.6, 2.5, 2.4],
        "glorot_standard": [4.2, 4.2, 4.4, 5.3],
        "xavier_uniform": [4.3, 4.2, 4.4, 4.7],
    }
    assert judged(seen)
    assert not judged(seen | {"dbn": [2.3, 2.6, 2.5, 2.4]})
    assert not judged(seen | {"xavier_uniform": [4.3, 4.2, 4.0, 3.9]})
    assert not judged(seen | {"dbn": [4.9, 4.6, 4.5, 3.8]})


def test_zeros_are_judged_exactly(mnist: DataSet) -> None:
    for name in ("R1", "R2"):
        recipe = RECIPES[name]
        outcomes = [outcome(spec, mnist) for spec in recipe.members([777])]
        judgement = recipe.judge(outcomes)
        assert judgement.holds, judgement.measured
        layers = [one.model_copy(update={"weight_absmax": 1e-9, "distinct_units": 2}) for one in outcomes[0].end.layers]
        look = outcomes[0].end.model_copy(update={"layers": layers})
        assert not recipe.judge([dataclasses.replace(outcomes[0], diagnostics=[look]), *outcomes[1:]]).holds


def test_metrics_of_the_sample_are_what_judges_read(sample: Outcome) -> None:
    assert isinstance(sample.metrics[0], EpochMetrics)
    assert sample.error_percent == pytest.approx(100 * (1 - sample.accuracy))
