"""Training on a GPU that is only pretended, so that every machine sees what CUDA would refuse.

A tensor here says that it is on `cuda:0` and keeps its values in the host's memory. An operation that mixes devices is
refused as CUDA refuses it. A graph is captured as CUDA captures it: nothing that is captured takes effect, reading a
value or copying between devices meanwhile is an error, and a replay runs the same operations on the same memory with
the same Python numbers. What only real kernels show (speed, rounding, pools of memory, streams) is for `test_gpu`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from models.checkpoint import weights_sha256
from models.data.mnist import DataSet
from models.data.training_images import training_images
from models.init.by_fans import XavierUniform
from models.init.constants import Zeros
from models.init.pretrained import Dbn
from models.network.architecture import Architecture
from models.pretrain import batch_loop
from models.pretrain.dbn import Pretraining
from models.spec import SGD, Adam, TrainSpec
from models.training import epoch_loops
from models.training.snapshot import pretrained_network
from models.training.train import Training
from models.training.training_set import training_set
from models.vocabulary import Precision

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
CPU_GENERATOR = torch.Generator
SMALL = TrainSpec(architecture=Architecture(hidden=(16, 8)), batch_size=16, epochs=2, data="mnist_5k")
aten = torch.ops.aten
COPIES = {aten.copy_, aten._to_copy}
READS = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.bincount, aten._unique2, aten.masked_select}
pretends = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real GPU, and `test_gpu` uses it")


# -- the pretended GPU -----------------------------------------------------------------------------------


class OnDevice(Tensor):
    """A tensor that says it is on the GPU; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Self:
        found = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CUDA,
        )
        found.held = inner
        return found

    def tolist(self) -> Any:
        return self.to("cpu").tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


class Pretended(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees what is made on the GPU, or brought there, without an argument that is there already."""

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Graph:
    """A captured graph: what was called, and where each result lies."""

    capturing: Graph | None = None
    replays = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.own: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, func: Any, args: Any, kwargs: Any, results: list[Tensor], given: list[Tensor]) -> None:
        """Note a call, unless all it gives is views of what it was given, which need no replay."""
        was_there, known = {id(one) for one in given}, {memory_of(one) for one in given}
        fresh = [one for one in results if id(one) not in was_there]
        if not fresh or any(memory_of(one) not in known for one in fresh):
            self.own |= {memory_of(one) for one in fresh}
            self.calls.append((func, args, kwargs, results))

    def replay(self) -> None:
        Graph.replays += 1
        for func, args, kwargs, results in self.calls:
            for own, new in zip(results, tensors(func(*args, **kwargs)), strict=True):
                own.copy_(new)


@contextlib.contextmanager
def capture(graph: Graph, **_options: object) -> Iterator[None]:
    Graph.capturing = graph
    try:
        yield
    finally:
        Graph.capturing = None
        for whole, old in graph.before.values():
            whole.copy_(old)


class Nothing:
    """A stream or an event, of which there is but one."""

    def __init__(self, *_args: object, **_options: object) -> None: ...

    def wait_stream(self, _other: object) -> None: ...

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def tensors(value: Any) -> list[Tensor]:
    return [one for one in tree_leaves(value) if isinstance(one, Tensor)]


def memory_of(inner: Tensor) -> int:
    return int(inner.untyped_storage()._cdata)


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """Do what an operation does, on the values, if CUDA would."""
    there = [one for one in tensors((args, kwargs)) if isinstance(one, OnDevice)]
    asked = kwargs.get("device")
    goes_there = bool(there) if asked is None else torch.device(asked).type == "cuda"
    refuse_what_cuda_would(func, tensors((args, kwargs)), goes_there)
    if Graph.capturing is not None and (there or goes_there):
        keep_what_changes(Graph.capturing, func, args, kwargs)
    inner_args, inner_kwargs = tree_map_only(OnDevice, lambda one: one.held, (args, kwargs))
    if asked is not None and goes_there:
        inner_kwargs = inner_kwargs | {"device": CPU}
    found = func(*inner_args, **inner_kwargs)
    if Graph.capturing is not None and there:
        Graph.capturing.add(func, inner_args, inner_kwargs, tensors(found), [one.held for one in there])
    if not goes_there:
        return found
    wrappers = {id(one.held): one for one in there}
    return tree_map_only(Tensor, lambda one: wrappers[id(one)] if id(one) in wrappers else OnDevice(one), found)


def refuse_what_cuda_would(func: Any, given: list[Tensor], goes_there: bool) -> None:
    operation, there = func.overloadpacket, [one for one in given if isinstance(one, OnDevice)]
    mixes = any(one.dim() > 0 for one in given if not isinstance(one, OnDevice))
    if there and mixes and operation not in COPIES and func is not aten.index.Tensor:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")
    if Graph.capturing is None or not (there or goes_there):
        return
    if operation in READS or len(there) < len(given) or bool(there) != goes_there:
        raise RuntimeError(f"{func}: not permitted while a stream is captured")


def keep_what_changes(graph: Graph, func: Any, args: Any, kwargs: Any) -> None:
    """Note the values of memory that a captured call writes to and that was there before the capture."""
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        for one in tensors(args[number] if number < len(args) else kwargs.get(argument.name)):
            assert isinstance(one, OnDevice)
            place = memory_of(one.held)
            if place not in graph.own and place not in graph.before:
                whole = torch.empty(0, dtype=one.dtype).set_(one.held.untyped_storage())
                graph.before[place] = (whole, whole.clone())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pretended: dict[str, object] = {
        "_lazy_init": lambda: None,
        "Stream": Nothing,
        "Event": Nothing,
        "current_stream": Nothing,
        "stream": lambda _stream: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": capture,
    }
    for name, value in pretended.items():
        monkeypatch.setattr(torch.cuda, name, value)
    # As FakeTensorMode does it: nothing asks the driver for its devices, and `torch.tensor` lets a mode see the copy.
    torch._C._ensureCUDADeviceGuardSet()
    torch._C._set_only_lift_cpu_tensors(True)
    tf32 = torch.backends.cuda.matmul.allow_tf32
    try:
        with Pretended():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        torch.backends.cuda.matmul.allow_tf32 = tf32


# -- the tests -------------------------------------------------------------------------------------------


def trained(training: Training) -> Training:
    while not training.finished:
        training.run_epoch()
    return training


def bits(training: Training) -> list[str]:
    return [weights_sha256(training.snapshot(index).weights) for index in training.members]


@pretends
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("count", "optimizer", "precision"),
    [(1, Adam(), "float32"), (2, SGD(momentum=0.9, weight_decay=0.1), "bf16")],
    ids=str,
)
def test_replayed_steps_are_those_taken_one_by_one(
    count: int, optimizer: Adam | SGD, precision: Precision, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"optimizer": optimizer, "precision": precision, "lr_schedule": "linear", "validation_images": 7}
    specs = [SMALL.model_copy(update=own | {"seed": seed}) for seed in range(count)]
    Graph.replays = 0
    captured = trained(Training(specs, few, CUDA))
    assert Graph.replays == 2  # each of 20 of an epoch's 24 whole batches; the 25th has 9 images
    with monkeypatch.context() as patch:
        patch.setattr(epoch_loops, "STEPS_PER_GRAPH", 1000)
        one_by_one = Training(specs, few, CUDA)
        one_by_one.run_epoch()
        snapshots = [one_by_one.snapshot(index) for index in range(count)]
        trained(one_by_one)
    assert Graph.replays == 2
    resumed = trained(Training(specs, few, CUDA, snapshots))
    assert bits(captured) == bits(one_by_one) == bits(resumed)
    assert captured.evaluate(0).accuracy > 0.15  # it has learned something


@pretends
@pytest.mark.usefixtures("gpu")
def test_a_graph_has_fewer_steps_where_their_images_would_take_much_memory(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, small = trained(Training([SMALL], few, CUDA)), 5 * 16 * 784 * 5
    monkeypatch.setattr(epoch_loops, "MAX_GATHERED_BYTES", small)
    Graph.replays = 0
    by_fewer = trained(Training([SMALL], few, CUDA))
    assert Graph.replays >= 2 * (25 // 8)  # epochs of 25 batches; at most 8 steps of these, the images have dark pixels
    assert bits(by_fewer) == bits(whole)


@pretends
@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_rows_of_images_are_whole_lines_and_dark_pixels_keep_their_weights(few: DataSet) -> None:
    on_gpu, on_cpu = training_set(SMALL, few, CUDA), training_set(SMALL, few, CPU)
    lines = on_gpu.lit.shape[1] / 16
    assert lines == int(lines) == -(-on_cpu.lit.shape[1] // 16)
    assert set(on_cpu.pixels.tolist()) < set(on_gpu.pixels.tolist())
    assert on_gpu.pixels.tolist() == sorted(set(on_gpu.pixels.tolist()))
    training = Training([SMALL], few, CUDA)
    dark = torch.ones(784, dtype=torch.bool).index_fill_(0, on_cpu.pixels, False)
    before = training.network(0).layers[0].weight[:, dark]
    assert torch.equal(trained(training).network(0).layers[0].weight[:, dark], before)


@pretends
@pytest.mark.usefixtures("gpu")
def test_pretended_steps_come_to_what_the_cpu_comes_to(few: DataSet) -> None:
    on_gpu, on_cpu = (trained(Training([SMALL], few, device)) for device in (CUDA, CPU))
    for own, other in zip(on_gpu.network(0).layers, on_cpu.network(0).layers, strict=True):
        torch.testing.assert_close(own.weight, other.weight, rtol=1e-3, atol=1e-4)
    assert on_gpu.diagnose(0).loss == pytest.approx(on_cpu.diagnose(0).loss, rel=1e-3)


WILD = SMALL.model_copy(
    update={
        "optimizer": SGD(lr=10.0),
        "init": XavierUniform(gain=10.0),
        "architecture": Architecture(hidden=(64, 64, 64)),
    }
)


@pretends
@pytest.mark.usefixtures("gpu")
def test_ranks_are_closed_and_captured_anew(few: DataSet) -> None:
    tame = [WILD.model_copy(update={"init": Zeros(), "seed": seed}) for seed in range(3)]
    training = Training([WILD, *tame], few, CUDA)
    assert list(training.run_epoch()) == [1, 2, 3]
    assert "at the start of the epoch" in str(training.failures[0])
    training.drop(2)
    Graph.replays = 0
    assert list(training.run_epoch()) == training.members == [1, 3]
    assert Graph.replays == 1


@pretends
@pytest.mark.usefixtures("gpu")
def test_replayed_steps_of_pretraining_are_those_taken_one_by_one(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pretended GPU draws from a generator of the CPU, in the order of the steps."""
    monkeypatch.setattr(torch, "Generator", lambda _device=None: CPU_GENERATOR())
    monkeypatch.setattr(Graph, "register_generator_state", lambda *_: None, raising=False)
    init = Dbn(rbm_epochs=2, batch=10, momentum_switch=1, output_epochs=2)
    spec = SMALL.model_copy(update={"init": init})
    images, labels = training_images(spec, few), torch.tensor(few.train.labels, dtype=torch.int64)

    def pretrained() -> list[Tensor]:
        pretraining = Pretraining(init.settings, (784, 16, 8), 1, images, CUDA)
        while not pretraining.finished:
            pretraining.run_epoch()
        return [layer.weight for layer in pretrained_network(spec, pretraining, images, labels).layers]

    monkeypatch.setattr(batch_loop, "STEPS_PER_GRAPH", 3)
    Graph.replays = 0
    replayed, replays = pretrained(), Graph.replays
    assert replays == 4 * (38 // 3) + 2 * 1  # 380 images; the output layer's batches are of 100
    monkeypatch.setattr(batch_loop, "STEPS_PER_GRAPH", 1000)
    assert all(torch.equal(own, other) for own, other in zip(replayed, pretrained(), strict=True))
    assert Graph.replays == replays
