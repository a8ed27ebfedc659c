"""Kernels compiled for GPUs that are not here: registers, spills, and the instructions that decide the rounding."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="Triton is not installed: it comes with torch for CUDA on Linux")

from models.spec import SGD, Adam
from models.training.triton.availability import why_not_compiled
from tests.models.training.triton.compiled import TOOLS, Code, compiled, launches_of

pytestmark = pytest.mark.skipif(
    not (TOOLS / "nvdisasm").exists(), reason="this Triton carries no nvdisasm to read machine code with"
)
MOST_SPILLED = 512
"""Bytes a thread: what does not fit into 255 registers. Triton 3.8 spills more than 3.6."""


def codes(hidden: tuple[int, ...], capability: int, **options: object) -> list[Code]:
    return [
        compiled(launch, capability)
        for launch in launches_of(hidden, capability, **options)  # type: ignore[arg-type]
    ]


PRESETS = [((256, 256), 80), ((256, 256), 90), ((256, 256), 100), ((512,) * 4, 90)]


@pytest.mark.parametrize(("hidden", "capability"), PRESETS, ids=str)
def test_float32_is_summed_by_mma_and_registers_suffice(hidden: tuple[int, ...], capability: int) -> None:
    found = codes(hidden, capability)
    assert {code.kernel for code in found} == {"forward", "head", "backward", "last"}
    for code in found:
        assert code.instructions["HMMA"] > 0, code
        assert not [name for name in code.instructions if name.startswith(("HGMMA", "UTCHMMA", "UTCOMMA"))], code
        assert code.spilled <= MOST_SPILLED, code
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
        *codes((17, 3), 90, batch=7, activation="selu", optimizer=SGD(), pixels=37),
        *codes((30,), 80, batch=64, activation="tanh", optimizer=Adam(weight_decay=0.1)),
    ):
        assert code.spilled <= MOST_SPILLED, code


def test_what_is_compiled_with_is_said_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    why_not_compiled.cache_clear()
    assert "C compiler" in str(why_not_compiled())
    why_not_compiled.cache_clear()
