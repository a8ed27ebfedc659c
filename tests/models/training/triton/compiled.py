"""Kernels compiled for a GPU on a machine without one, and what the machine code says: registers, spills, instructions.

Triton brings `ptxas`, `cuobjdump` and `nvdisasm`.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from models.network.architecture import Architecture
from models.network.mlp import Network
from models.spec import SGD, Adam
from models.training.triton.launches import Call, Launch
from models.training.triton.plan import MANY, Card
from models.training.triton.step import Options, TritonStep, _Notes
from models.vocabulary import Activation, Precision

POINTERS = {
    torch.uint8: "*u8",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}
OPTIONS = {"num_warps", "num_stages", "launch_pdl", "maxnreg"}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
MULTIPROCESSORS = {80: 108, 90: 132, 100: 148}


class PretendedDriver:
    """What Triton asks of a GPU before it launches: enough to compile as a launch would."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int = 0) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self.target


@dataclass(frozen=True)
class Code:
    """What a kernel was compiled to; `spilled` bytes a thread keeps in memory for want of registers."""

    kernel: str
    registers: int
    spilled: int
    shared: int
    instructions: Counter[str]


def launches_of(
    hidden: tuple[int, ...],
    capability: int,
    *,
    precision: Precision = "float32",
    activation: Activation = "relu",
    optimizer: Adam | SGD | None = None,
    batch: int = 100,
    pixels: int = 784,
    many: int = MANY,
) -> list[Launch]:
    """Return the launches of a step of one network, each kernel in each shape once; `many` as in `Options`."""
    architecture = Architecture(hidden=hidden, activation=activation)
    card = Card(divmod(capability, 10), MULTIPROCESSORS[capability])
    step = TritonStep(
        [Network.empty(architecture)],
        architecture,
        optimizer or Adam(),
        torch.arange(pixels),
        torch.device("cpu"),
        Options(batch, card, precision, many=many, warm=False),
    )
    rows, notes = torch.zeros((1, batch), dtype=torch.int64), _Notes.of(1, 1, batch, torch.device("cpu"))
    call = Call(torch.zeros((1, pixels), dtype=torch.uint8), rows[0], rows, batch, notes.loss, notes.hit, notes.rates)
    seen: dict[str, Launch] = {}
    for launch in step._launches.of(call, step._between_of(batch)):
        seen.setdefault(f"{launch.kernel.fn.__name__} {launch.constants}", launch)
    return list(seen.values())


def compiled(launch: Launch, capability: int) -> Code:
    """Compile a launch's kernel for a compute capability (90: 9.0), as Triton would at the launch."""
    signature, attributes = dict(_signature(launch)), {}
    for number, (parameter, value) in enumerate(zip(launch.kernel.params, (*launch.arguments, 0), strict=False)):
        whole = isinstance(value, Tensor) or (isinstance(value, int) and value % 16 == 0)
        asked = parameter.do_not_specialize_on_alignment if isinstance(value, Tensor) else parameter.do_not_specialize
        if whole and not asked:
            attributes[(number,)] = [["tt.divisibility", 16]]
    constants = {name: value for name, value in launch.constants.items() if name not in OPTIONS}
    options = {name: value for name, value in launch.constants.items() if name in OPTIONS}
    source = ASTSource(launch.kernel, signature, constexprs=constants, attrs=attributes)
    kernel = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return _read(launch.kernel.fn.__name__, kernel)


def _signature(launch: Launch) -> Iterator[tuple[str, str]]:
    values = (*launch.arguments, 0)
    for number, name in enumerate(launch.kernel.arg_names):
        if name in launch.constants:
            yield name, "constexpr"
        elif isinstance(values[number], Tensor):
            yield name, POINTERS[values[number].dtype]
        else:
            yield name, "fp32" if isinstance(values[number], float) else "i32"


def _read(name: str, kernel: Any) -> Code:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(kernel.asm["cubin"])
        use = _said(str(TOOLS / "cuobjdump"), "--dump-resource-usage", str(path))
        code = _said(str(TOOLS / "nvdisasm"), "-c", str(path))
    numbers = re.search(r"REG:(\d+) STACK:(\d+)", use)
    assert numbers is not None, use
    names = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_]+)", code, re.MULTILINE)
    return Code(name, int(numbers[1]), int(numbers[2]), kernel.metadata.shared, Counter(names))


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
