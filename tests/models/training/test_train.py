"""Training as a whole: facts about zeros, bits that repeat, and training that goes on where it stopped."""

from __future__ import annotations

import contextlib
import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from models.checkpoint import weights_sha256
from models.data.mnist import DataSet
from models.errors import EngineMissing, Interrupted, InvalidSpec, LossNotFinite
from models.evaluation.evaluate import count, evaluate, logits
from models.init.by_fans import HeNormal, XavierUniform
from models.init.constants import Constant, Zeros
from models.network.architecture import Architecture
from models.progress import StepProgress
from models.spec import SGD, Adam, TrainSpec
from models.training import engine as engine_module
from models.training.engine import STACKED, best_engine
from models.training.epoch_loops import DeviceLoop, HostLoop
from models.training.schedule import learning_rates, orders_of
from models.training.snapshot import Snapshot
from models.training.step import Step
from models.training.torch_step import StackedStep, TorchOptions
from models.training.train import Training, train

CPU = torch.device("cpu")
SMALL = TrainSpec(architecture=Architecture(hidden=(32, 16)), batch_size=50, epochs=3, data="mnist_5k")


def trained(spec: TrainSpec, data: DataSet) -> Training:
    training = Training([spec], data, CPU)
    while not training.finished:
        training.run_epoch()
    return training


def hash_of(training: Training, index: int = 0) -> str:
    return weights_sha256(training.snapshot(index).weights)


def test_the_same_spec_twice_gives_the_same_bits_and_another_seed_others(few: DataSet) -> None:
    first, second = trained(SMALL, few), trained(SMALL, few)
    assert hash_of(first) == hash_of(second)
    assert hash_of(trained(SMALL.model_copy(update={"seed": 1}), few)) != hash_of(first)


@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9), SGD()], ids=lambda one: one.model_dump_json())
@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_training_that_goes_on_from_a_snapshot_ends_with_the_same_bits(
    optimizer: Adam | SGD, stop_after: int, few: DataSet
) -> None:
    spec = SMALL.model_copy(update={"optimizer": optimizer})
    training = Training([spec], few, CPU)
    for _ in range(stop_after):
        training.run_epoch()
    resumed = Training([spec], few, CPU, [training.snapshot(0)])
    for one in (training, resumed):
        while not one.finished:
            one.run_epoch()
    assert hash_of(resumed) == hash_of(training)


def test_the_loss_falls_and_the_metrics_say_so(few: DataSet) -> None:
    metrics = [one[0] for _, one in train([SMALL], few, CPU)]
    assert [one.epoch for one in metrics] == [1, 2, 3]
    assert metrics[2].train_loss_mean < metrics[0].train_loss_mean
    assert metrics[2].train_accuracy > metrics[0].train_accuracy
    for one in metrics:
        assert one.images_per_s == pytest.approx(400 / one.duration_s)
        assert one.validation_accuracy is None
        assert one.test_accuracy is None


def test_the_mean_loss_is_over_all_images_and_the_last_batchs_is_its_own(few: DataSet) -> None:
    spec = SMALL.model_copy(update={"optimizer": SGD(lr=1e-10), "batch_size": 300, "epochs": 1})
    network_loss = Training([spec], few, CPU)
    metrics = network_loss.run_epoch()[0]
    # With a learning rate of nearly 0 both are losses of the initial network: over 400 images, and over the last 100.
    order = orders_of([SMALL.seed], 1, 400, 400)[0]
    outputs = _outputs(network_loss, few)
    losses = torch.nn.functional.cross_entropy(
        outputs[order], torch.tensor(few.train.labels, dtype=torch.int64)[order], reduction="none"
    )
    assert metrics.train_loss_mean == pytest.approx(float(losses.mean()), rel=1e-5)
    assert metrics.train_loss_last_batch == pytest.approx(float(losses[300:].mean()), rel=1e-5)


def _outputs(training: Training, few: DataSet) -> torch.Tensor:
    return logits(training.network(0), torch.tensor(few.train.images.reshape(-1, 784)).float() / 255)


def test_validation_images_are_held_out_and_judged(few: DataSet) -> None:
    metrics = Training([SMALL.model_copy(update={"validation_images": 100})], few, CPU).run_epoch()[0]
    assert metrics.images_per_s * metrics.duration_s == pytest.approx(300)
    assert metrics.validation_accuracy is not None
    assert 0 <= metrics.validation_accuracy <= 1


def test_the_order_of_images_is_a_new_permutation_every_epoch() -> None:
    first, second = orders_of([SMALL.seed], 1, 400, 400), orders_of([SMALL.seed], 2, 400, 400)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(dim=1).values, second.sort(dim=1).values)


def test_drop_last_leaves_out_the_small_batch(few: DataSet) -> None:
    spec = SMALL.model_copy(update={"batch_size": 300, "drop_last": True})
    assert Training([spec], few, CPU).images_per_epoch == 300
    assert Training([SMALL.model_copy(update={"batch_size": 300})], few, CPU).images_per_epoch == 400


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_with_zeros_and_relu_or_tanh_only_the_output_bias_moves(activation: str, few: DataSet) -> None:
    architecture = Architecture(hidden=(32, 16), activation=activation)
    training = trained(SMALL.model_copy(update={"init": Zeros(), "architecture": architecture}), few)
    *hidden, output = training.network(0).layers
    for layer in hidden:
        assert not layer.weight.any()
        assert not layer.bias.any()
    assert not output.weight.any()
    assert bool((output.bias != 0).all())


def units_are_equal(weight: torch.Tensor) -> bool:
    """Say whether all rows are one, up to the order in which a processor adds up the columns of a product.

    A step of B images rounds each sum by at most B 2^-24 of its size. SMALL takes 24 steps of 50 images: 7e-5.
    """
    return float((weight - weight[0]).norm(dim=1).max()) <= 24 * 50 * 2**-24 * float(weight[0].norm())


def test_with_zeros_and_sigmoid_all_parameters_move_but_units_stay_equal(few: DataSet) -> None:
    architecture = Architecture(hidden=(32, 16), activation="sigmoid")
    spec = SMALL.model_copy(update={"init": Zeros(), "architecture": architecture, "optimizer": SGD(lr=0.1)})
    first, second, output = trained(spec, few).network(0).layers
    for layer in (first, second):
        assert bool(layer.weight.any())
        assert units_are_equal(layer.weight)
    assert not torch.equal(output.weight[0], output.weight[1])


def test_constant_weights_learn_as_one_unit_a_layer(few: DataSet) -> None:
    spec = SMALL.model_copy(update={"init": Constant(value=0.01), "optimizer": SGD(lr=0.1)})
    first = trained(spec, few).network(0).layers[0]
    assert units_are_equal(first.weight)
    assert not torch.equal(first.weight, torch.full_like(first.weight, 0.01))


def test_zeros_with_random_biases_part_the_units(few: DataSet) -> None:
    init = Zeros(bias="torch_default", break_symmetry_by_bias=True)
    architecture = Architecture(hidden=(32, 16), activation="tanh")
    spec = SMALL.model_copy(update={"init": init, "architecture": architecture})
    first = trained(spec, few).network(0).layers[0].weight
    assert len(torch.unique(first, dim=0)) == 32


def test_zeros_with_random_biases_learn_mnist(mnist: DataSet) -> None:
    spec = TrainSpec(init=Zeros(bias="torch_default", break_symmetry_by_bias=True), epochs=1, data="mnist")
    assert count(trained(spec, mnist).network(0), mnist.test).accuracy > 0.9  # measured .93


def test_several_models_train_at_once_each_with_its_own_seed_and_scheme(few: DataSet) -> None:
    specs = [SMALL, SMALL.model_copy(update={"seed": 1}), SMALL.model_copy(update={"init": HeNormal()})]
    together = Training(specs, few, CPU)
    while not together.finished:
        together.run_epoch()
    for index, spec in enumerate(specs):
        alone = trained(spec, few).network(0).layers[0].weight
        torch.testing.assert_close(together.network(index).layers[0].weight, alone, rtol=1e-3, atol=1e-4)


def test_models_that_differ_in_more_than_scheme_and_seed_are_refused(few: DataSet) -> None:
    with pytest.raises(InvalidSpec, match="only in init, output_init and seed"):
        Training([SMALL, SMALL.model_copy(update={"batch_size": 10})], few, CPU)


def test_a_spec_that_does_not_fit_the_data_at_hand_is_refused(few: DataSet) -> None:
    with pytest.raises(InvalidSpec, match="drops every batch of the 400"):
        Training([SMALL.model_copy(update={"batch_size": 500, "drop_last": True})], few, CPU)


def test_snapshots_of_different_epochs_are_refused(few: DataSet) -> None:
    weights = Training([SMALL], few, CPU).snapshot(0).weights
    with pytest.raises(InvalidSpec, match="same epoch"):
        Training([SMALL, SMALL], few, CPU, [Snapshot(0, weights, {}), Snapshot(1, weights, {})])


def test_a_training_that_diverges_says_where_and_how(few: DataSet) -> None:
    architecture = Architecture(hidden=(64, 64, 64), activation="identity")
    spec = SMALL.model_copy(
        update={"optimizer": SGD(lr=10.0), "init": XavierUniform(gain=10.0), "architecture": architecture}
    )
    with pytest.raises(
        LossNotFinite,
        match=r"in epoch \d+, step \d+.* squares of the weights at the start of the epoch.*: [0-9.]+, [0-9.]+",
    ):
        trained(spec, few)


@pytest.mark.usefixtures("step_by_step")
def test_the_caller_can_stop_between_two_steps(few: DataSet) -> None:
    seen: list[StepProgress] = []

    def stop_at_third(progress: StepProgress) -> None:
        seen.append(progress)
        if progress.step == 3:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        Training([SMALL], few, CPU).run_epoch(stop_at_third)
    assert [(one.epoch, one.step, one.steps_per_epoch, one.images) for one in seen] == [
        (1, 1, 8, 50),
        (1, 2, 8, 100),
        (1, 3, 8, 150),
    ]


def test_the_recipe_learns_real_digits(five_thousand: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(64,)), epochs=5, data="mnist_5k")
    evaluation = evaluate(trained(spec, five_thousand).network(0), five_thousand)
    assert evaluation.accuracy > 0.85
    assert evaluation.test_accuracy is None
    assert np.sum(evaluation.confusion_matrix) == 1000


def test_zeros_with_relu_give_exactly_the_share_of_ones_on_mnist(mnist: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(16,)), init=Zeros(), epochs=1, data="mnist")
    evaluation = evaluate(trained(spec, mnist).network(0), mnist)
    assert evaluation.test_accuracy == 0.1135


@pytest.fixture(params=["kernel", "stacked"])
def engine(request: pytest.FixtureRequest) -> str:
    name = best_engine(SMALL, CPU) if request.param == "kernel" else STACKED
    if request.param == "kernel" and name == STACKED:
        pytest.skip("no kernel: it needs a C compiler when installing Fanin")
    return name


WILD = SMALL.model_copy(
    update={
        "optimizer": SGD(lr=10.0),
        "init": XavierUniform(gain=10.0),
        "architecture": Architecture(hidden=(64, 64, 64)),
    }
)


def seeds(count: int, **changes: object) -> list[TrainSpec]:
    return [SMALL.model_copy(update={"seed": seed} | changes) for seed in range(count)]


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_each_engine_goes_on_from_a_snapshot_with_the_same_bits(engine: str, stop_after: int, few: DataSet) -> None:
    training = Training([SMALL], few, CPU, engine=engine)
    assert training.engine == engine
    for _ in range(stop_after):
        training.run_epoch()
    resumed = Training([SMALL], few, CPU, [training.snapshot(0)], engine)
    for one in (training, resumed):
        while not one.finished:
            one.run_epoch()
    assert hash_of(resumed) == hash_of(training)


def test_a_model_that_diverges_fails_alone(engine: str, few: DataSet) -> None:
    tame = [WILD.model_copy(update={"init": Zeros(), "seed": seed}) for seed in range(3)]
    training = Training([WILD, *tame], few, CPU, engine=engine)
    metrics = training.run_epoch()
    assert list(metrics) == training.members == [1, 2, 3]
    assert list(training.failures) == [0]
    assert "in epoch 1, step " in training.failures[0].detail
    alone = Training(tame[:1], few, CPU, engine=engine)
    expected = alone.run_epoch()[0]
    assert metrics[1].train_loss_mean == pytest.approx(expected.train_loss_mean, rel=1e-5)


def test_the_last_model_that_diverges_ends_the_training(engine: str, few: DataSet) -> None:
    training = Training([WILD, WILD], few, CPU, engine=engine)
    with pytest.raises(LossNotFinite):
        training.run_epoch()
    assert (list(training.failures), training.members) == ([0, 1], [])


@pytest.mark.usefixtures("uncollected")
def test_a_training_whose_models_have_all_diverged_gives_its_memory_back(engine: str, few: DataSet) -> None:
    def diverges() -> weakref.ref[Training]:
        training = Training([WILD], few, CPU, engine=engine)
        with contextlib.suppress(LossNotFinite):
            training.run_epoch()
        assert training.failures
        return weakref.ref(training)

    assert diverges()() is None


@pytest.mark.usefixtures("uncollected")
def test_what_models_that_left_took_is_free_before_the_others_take_new_places(
    engine: str, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(seeds(2), few, CPU, engine=engine)
    before, held = weakref.ref(training._step), []

    def looking(*arguments: Any) -> Step:
        held.append(before())
        return engine_module.make_step(*arguments)

    monkeypatch.setattr("models.training.train.make_step", looking)
    training.drop(0)
    training.run_epoch()
    assert held == [None]


@pytest.mark.usefixtures("step_by_step")
def test_a_dropped_model_is_left_out_at_once_and_its_place_given_up_when_half_have_left(
    engine: str, few: DataSet
) -> None:
    specs = seeds(4)
    training = Training(specs, few, CPU, engine=engine)

    def drop_first(progress: StepProgress) -> None:
        if progress.step == 3:
            training.drop(0)

    assert list(training.run_epoch(drop_first)) == training.members == [1, 2, 3]
    before = training._step
    training.drop(2)
    assert list(training.run_epoch()) == [1, 3]
    assert training._step is not before
    assert training._step.count == 2
    while not training.finished:
        training.run_epoch()
    for member in (1, 3):
        alone = Training([specs[member]], few, CPU, engine=engine)
        while not alone.finished:
            alone.run_epoch()
        found, expected = training.network(member).layers[0].weight, alone.network(0).layers[0].weight
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_linear_schedule_falls_to_nothing() -> None:
    spec = SMALL.model_copy(update={"lr_schedule": "linear"})
    rates = [rate for epoch in (1, 2, 3) for rate in learning_rates(spec, epoch, steps=8)]
    assert rates == pytest.approx([1e-3 * (1 - step / 24) for step in range(24)])


def test_warm_up_rises_evenly_and_what_falls_starts_after_it() -> None:
    def rates(schedule: str) -> list[float]:
        spec = SMALL.model_copy(update={"lr_schedule": schedule, "warmup_steps": 4, "epochs": 3})
        return [1000 * rate for epoch in (1, 2, 3) for rate in learning_rates(spec, epoch, steps=4)]

    assert rates("constant") == pytest.approx([0.25, 0.5, 0.75, 1, *[1] * 8])
    assert rates("linear") == pytest.approx([0.25, 0.5, 0.75, 1, *(1 - step / 8 for step in range(8))])
    cosine = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates("cosine") == pytest.approx([0.25, 0.5, 0.75, 1, *cosine])


def test_weights_of_pixels_that_are_never_lit_stay_unless_they_decay(engine: str, few: DataSet) -> None:
    unlit = torch.tensor(few.train.images.reshape(-1, 784)).any(0) == 0
    for decay in (0.0, 0.1):
        training = Training([SMALL.model_copy(update={"optimizer": Adam(weight_decay=decay)})], few, CPU, engine=engine)
        before = training.network(0).layers[0].weight[:, unlit]
        training.run_epoch()
        after = training.network(0).layers[0].weight[:, unlit]
        assert torch.equal(before, after) == (decay == 0.0)


def test_an_engine_that_is_not_there_is_refused_with_the_one_that_is(few: DataSet) -> None:
    with pytest.raises(EngineMissing, match=f"Use {best_engine(SMALL, CPU)}"):
        Training([SMALL], few, CPU, engine="sparse-kernel-pdp11")


def test_an_installation_without_the_kernel_trains_on_torch(few: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "kernel", lambda: None)
    assert Training([SMALL], few, CPU).engine == STACKED


def test_activations_that_need_exponentials_are_left_to_torch(few: DataSet) -> None:
    spec = SMALL.model_copy(update={"architecture": Architecture(hidden=(32, 16), activation="tanh")})
    assert Training([spec], few, CPU).engine == STACKED


def test_steps_left_to_the_device_are_those_that_the_host_takes(few: DataSet) -> None:
    architecture, batch, images = Architecture(hidden=(20,)), 60, 400
    pixels = torch.tensor(few.train.images.reshape(-1, 784))
    labels = torch.tensor(few.train.labels, dtype=torch.int64)
    networks = [
        SMALL.model_copy(update={"architecture": architecture, "seed": n}).first_network(pixels) for n in (0, 1)
    ]
    orders = torch.stack([torch.randperm(images, generator=torch.Generator().manual_seed(n)) for n in (0, 1)])
    lrs = [1e-3 * (1 - step / 7) for step in range(7)]
    for optimizer in (Adam(), SGD(momentum=0.9)):
        by_host, by_device = (
            StackedStep(networks, architecture, optimizer, CPU, options=TorchOptions(for_gpu=for_gpu))
            for for_gpu in (False, True)
        )
        called: list[tuple[int, torch.Tensor | None]] = []
        theirs = HostLoop(by_host, pixels, labels, batch).run(orders, lrs, lambda *_: None)
        loop = DeviceLoop(by_device, pixels, labels, batch, images)
        for _ in range(2):  # a second epoch, from the cursor's start
            losses = loop.run(orders, lrs, lambda *told, called=called: called.append(told))
        assert called == [(done, None) for done in [1, 2, 3, 4, 5, 6, 7] * 2]
        assert losses.shape == (7, 2)
        HostLoop(by_host, pixels, labels, batch).run(orders, lrs, lambda *_: None)
        assert not torch.equal(theirs, losses)
        for index in (0, 1):
            found, expected = (step.network(index).layers[0].weight for step in (by_device, by_host))
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)  # the rate is float32 on the device


def test_on_a_cpu_denormal_numbers_are_taken_for_zero(few: DataSet) -> None:
    torch.set_flush_denormal(False)
    assert float(torch.tensor(1e-39) * 2) > 0
    Training([TrainSpec(architecture=Architecture(hidden=(8,)), batch_size=50)], few, torch.device("cpu"))
    assert float(torch.tensor(1e-39) * 2) == 0
