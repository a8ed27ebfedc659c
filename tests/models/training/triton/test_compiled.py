"""Kernels compiled for GPUs that are not here: registers, spills, and the instructions that decide the rounding."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is not installed: it comes with torch for CUDA on Linux")

from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, Adam
from models.training.triton.availability import why_not_compiled
from models.training.triton.kernels.backward import backward, last
from models.training.triton.kernels.forward import forward, head
from models.training.triton.kernels.updates import add_up, prepare
from models.training.triton.launches import Call
from models.training.triton.plan import MANY, Card
from models.training.triton.step import Options, TritonStep
from tests.models.training.triton.compiled import TOOLS, Code, PretendedDriver, compiled, launches_of

CPU = torch.device("cpu")

pytestmark = [
    pytest.mark.skipif(
        not (TOOLS / "nvdisasm").exists(), reason="this Triton carries no nvdisasm to read machine code with"
    ),
    pytest.mark.skipif("FANIN_TEST_KERNELS" not in os.environ, reason="compiles for half a minute: make test-kernels"),
]
MAX_SPILLED = 512
"""Bytes a thread: what does not fit into 255 registers. Triton 3.8 spills more than 3.6."""


def codes(hidden: tuple[int, ...], capability: int, **options: object) -> list[Code]:
    return [
        compiled(launch, capability)
        for launch in launches_of(hidden, capability, **options)  # type: ignore[arg-type]
    ]


PRESETS = [
    ((256, 256), 80, MANY),
    ((256, 256), 90, MANY),
    ((256, 256), 100, MANY),
    ((512,) * 4, 90, MANY),
    ((256, 256), 90, 1),
    ((512,) * 4, 90, 1),
]


@pytest.mark.parametrize(("hidden", "capability", "many"), PRESETS, ids=str)
def test_float32_is_summed_by_mma_and_registers_suffice(hidden: tuple[int, ...], capability: int, many: int) -> None:
    all_codes = codes(hidden, capability, many=many)
    assert {code.kernel for code in all_codes} == {"forward", "head", "backward", "last"}
    for code in all_codes:
        assert code.instructions["HMMA"] > 0, code
        assert not [name for name in code.instructions if name.startswith(("HGMMA", "UTCHMMA", "UTCOMMA"))], code
        assert code.spilled <= MAX_SPILLED, code
        waits = code.instructions["ACQBULK"]  # of programmatic dependent launch
        assert (waits > 0) == (capability >= 90), code


def test_lower_precisions_take_fewer_products() -> None:
    products = []
    for precision in ("float32", "tf32", "bf16"):
        hidden_layer = launches_of((256, 256), 90, precision=precision)[1]
        products.append(compiled(hidden_layer, 90).instructions["HMMA"])
    assert products[0] == 3 * products[1] == 6 * products[2]


def test_other_shapes_compile_too() -> None:
    for code in (
        *codes((2048, 40), 90, batch=1000, activation="gelu", optimizer=SGD(momentum=0.9), pixels=300),
        *codes((30,), 80, batch=64, activation="tanh", optimizer=Adam(weight_decay=0.1), pixels=37),
    ):
        assert code.spilled <= MAX_SPILLED, code


def test_warming_compiles_all_that_any_call_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton.runtime.driver, "_active", PretendedDriver(90), raising=True)
    kernels = {prepare, add_up, forward, head, backward, last}
    for kernel in kernels:
        monkeypatch.setattr(kernel, "device_caches", defaultdict(kernel.create_binder))
    architecture = Architecture(hidden=(48, 33, 20))
    options = Options(64, Card((9, 0), 132), warm=False)
    step = TritonStep([Network.empty(architecture)] * 3, architecture, Adam(), torch.arange(720), CPU, options)

    def compiled_kernels() -> int:
        return sum(len(of_device[0]) for kernel in kernels for of_device in kernel.device_caches.values())

    step.warm(64)
    warm = compiled_kernels()
    assert warm >= len(kernels)
    images, labels, rows = torch.zeros((9, 720), dtype=torch.uint8), torch.zeros(9, dtype=torch.int64), torch.zeros
    for batch, steps, index in itertools.product((64, 1, 16, 33), (1, 20), (0, 1, 16)):
        notes, orders = step._notes_of(steps, batch), rows((3, 7 + steps * batch), dtype=torch.int64)[:, 7:]
        call = Call(images, labels, orders, batch, notes.loss, notes.hit, notes.rates)
        for launch in step._launches.of(call, step._between_of(batch)):
            launch.kernel.warmup(*launch.arguments, index, grid=launch.grid, **launch.constants)
        rates = torch.zeros(steps + 1)[1:]
        prepare.warmup(rates, step._counter, notes.rates, step._lr, steps, grid=(1,), GG=32, OPT="adam", num_warps=1)
        add_up.warmup(*step._added_up(notes, steps, batch), grid=(1,), GG=32, BB=128)
    assert compiled_kernels() == warm


def test_what_is_compiled_with_is_said_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    why_not_compiled.cache_clear()
    assert "C compiler" in str(why_not_compiled())
    why_not_compiled.cache_clear()
