"""What only a GPU can show: the captured step is the uncaptured one, and a training that is interrupted goes on."""

from __future__ import annotations

import pytest
import torch

from models.checkpoint import weights_sha256
from models.data.mnist import DataSet
from models.data.training_images import training_images
from models.init.by_fans import XavierUniform
from models.init.constants import Zeros
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.network.mlp import Network
from models.pretrain.batch_loop import BatchLoop
from models.pretrain.dbn import Pretraining
from models.results import PretrainMetrics
from models.spec import SGD, Adam, TrainSpec
from models.training.snapshot import pretrained_network
from models.training.train import Training
from models.vocabulary import Precision

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU: run benchmarks/gpu.sh where one is, with torch for CUDA"
)
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
SMALL = TrainSpec(architecture=Architecture(hidden=(32, 16)), batch_size=16, epochs=3, data="mnist_5k")


def trained(training: Training) -> Training:
    while not training.finished:
        training.run_epoch()
    return training


@pytest.mark.parametrize("optimizer", [Adam(), Adam(weight_decay=0.1), SGD(), SGD(momentum=0.9)], ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_captured_steps_come_to_what_the_cpu_comes_to(count: int, optimizer: Adam | SGD, few: DataSet) -> None:
    specs = [SMALL.model_copy(update={"seed": seed, "optimizer": optimizer, "epochs": 1}) for seed in range(count)]
    on_gpu, on_cpu = Training(specs, few, CUDA), Training(specs, few, CPU)
    found, expected = on_gpu.run_epoch(), on_cpu.run_epoch()
    for index in range(count):
        assert found[index].train_loss_mean == pytest.approx(expected[index].train_loss_mean, rel=1e-4)
        for own, other in zip(on_gpu.network(index).layers, on_cpu.network(index).layers, strict=True):
            torch.testing.assert_close(own.weight, other.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_a_training_that_goes_on_from_snapshots_ends_with_the_same_bits(stop_after: int, few: DataSet) -> None:
    specs = [SMALL.model_copy(update={"seed": seed}) for seed in range(2)]
    training = Training(specs, few, CUDA)
    for _ in range(stop_after):
        training.run_epoch()
    resumed = Training(specs, few, CUDA, [training.snapshot(index) for index in range(2)])
    trained(training)
    trained(resumed)
    for index in range(2):
        hashes = {weights_sha256(one.snapshot(index).weights) for one in (training, resumed)}
        assert len(hashes) == 1


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precision_learns_as_well(precision: Precision, five_thousand: DataSet) -> None:
    spec = TrainSpec(architecture=Architecture(hidden=(64,)), epochs=5, data="mnist_5k")
    accuracies = [
        trained(Training([spec.model_copy(update={"precision": one})], five_thousand, CUDA)).evaluate(0).accuracy
        for one in ("float32", precision)
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.03  # of 1,000 digits: three standard deviations of a difference


def test_a_model_that_diverges_or_is_dropped_leaves_the_others(few: DataSet) -> None:
    wild = SMALL.model_copy(
        update={
            "optimizer": SGD(lr=10.0),
            "init": XavierUniform(gain=10.0),
            "architecture": Architecture(hidden=(64, 64, 64)),
        }
    )
    tame = [wild.model_copy(update={"init": Zeros(), "seed": seed}) for seed in range(3)]
    training = Training([wild, *tame], few, CUDA)
    assert list(training.run_epoch()) == [1, 2, 3]
    training.drop(2)
    assert list(training.run_epoch()) == training.members == [1, 3]
    assert list(training.failures) == [0]


def test_layers_are_looked_at_on_the_gpu(few: DataSet) -> None:
    on_gpu, on_cpu = (Training([SMALL], few, device).diagnose(0) for device in (CUDA, CPU))
    for own, other in zip(on_gpu.layers, on_cpu.layers, strict=True):
        assert own.z_rms == pytest.approx(other.z_rms, rel=1e-4)
        assert own.dz_rms == pytest.approx(other.dz_rms, rel=1e-3)
        assert own.distinct_units == other.distinct_units


def test_networks_are_measured_together_as_each_alone(few: DataSet) -> None:
    specs = [SMALL.model_copy(update={"seed": seed}) for seed in range(3)]
    training = Training(specs, few, CUDA)
    for epochs in range(3):
        for index, found in enumerate(training.diagnose_all([0, 1, 2])):
            alone = Training([specs[index]], few, CUDA, [training.snapshot(index)] if epochs else None).diagnose(0)
            for own, other in zip(found.layers, alone.layers, strict=True):
                assert own.z_rms == pytest.approx(other.z_rms, rel=1e-5)
                assert own.dz_rms == pytest.approx(other.dz_rms, rel=1e-4)
                assert own.a_q98 == pytest.approx(other.a_q98, rel=1e-4)
                assert own.distinct_units == other.distinct_units
            if epochs == 0:
                assert found.jacobian is not None
                assert alone.jacobian is not None
                assert found.jacobian.largest == pytest.approx(alone.jacobian.largest, rel=1e-6)
        evaluations = training.evaluate_all([0, 1, 2])
        assert [one.accuracy for one in evaluations] == [training.evaluate(index).accuracy for index in range(3)]
        assert [weights_sha256(one.weights) for one in training.snapshots([0, 1, 2])] == [
            weights_sha256(training.snapshot(index).weights) for index in range(3)
        ]
        if epochs < 2:
            training.run_epoch()


DBN = TrainSpec(
    architecture=Architecture(hidden=(32, 16), activation="sigmoid"),
    init=Dbn(rbm_epochs=3, batch=10, momentum_switch=1, output_epochs=3),
    data="mnist_5k",
    epochs=1,
)


def pretrained(data: DataSet, device: torch.device) -> tuple[list[PretrainMetrics], Network]:
    assert isinstance(DBN.init, Dbn)
    images, labels = training_images(DBN, data), torch.tensor(data.train.labels, dtype=torch.int64)
    pretraining = Pretraining(DBN.init.settings, (784, 32, 16), DBN.seed, images, device)
    metrics = []
    while not pretraining.finished:
        metrics.append(pretraining.run_epoch())
    return metrics, pretrained_network(DBN, pretraining, images, labels)


def test_a_captured_pretraining_is_the_uncaptured_one(five_thousand: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = BatchLoop._replay
    replays = 0

    def counted(self: BatchLoop, rows: torch.Tensor) -> None:
        nonlocal replays
        replays += 1
        replayed(self, rows)

    monkeypatch.setattr(BatchLoop, "_replay", counted)
    metrics, captured = pretrained(five_thousand, CUDA)
    assert replays > 50
    monkeypatch.setattr("models.pretrain.batch_loop.STEPS_PER_GRAPH", 10**6)
    others, uncaptured = pretrained(five_thousand, CUDA)
    assert [one.reconstruction_error for one in metrics] == [one.reconstruction_error for one in others]
    for own, other in zip(captured.layers, uncaptured.layers, strict=True):
        assert torch.equal(own.weight, other.weight)
        assert torch.equal(own.bias, other.bias)
    on_cpu, _ = pretrained(five_thousand, CPU)  # other random numbers, so another machine that is as good
    for own_metrics, of_cpu in zip(metrics, on_cpu, strict=True):
        assert own_metrics.reconstruction_error == pytest.approx(of_cpu.reconstruction_error, rel=0.1)  # 4 % on an H100
