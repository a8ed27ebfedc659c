"""The launches of a step: which kernel, on which grid, with which arguments. Importing this imports Triton."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from models.training.stacked_parameters import StackedParameters
from models.training.triton.kernels.backward import backward, last
from models.training.triton.kernels.forward import forward, head
from models.training.triton.plan import Plan, UpdateTile, tiles

CLASS_PLACES = 16


class Launch(NamedTuple):
    """A kernel's launch; the index of the step among those of a call is one more argument."""

    kernel: Any
    grid: tuple[int, int]
    arguments: tuple[Any, ...]
    constants: dict[str, Any]

    def run(self, step: int) -> None:
        """Launch for a step."""
        self.kernel[self.grid](*self.arguments, step, **self.constants)

    def compile(self) -> None:
        """Compile the kernel and launch nothing."""
        self.kernel.warmup(*self.arguments, 0, grid=self.grid, **self.constants)


@dataclass(frozen=True)
class Rule:
    """How parameters are updated: `name` is OPT in `updates.update`; what is not remembered is any other buffer."""

    name: str
    first: Tensor
    second: Tensor
    decay: float
    momentum: float


@dataclass(frozen=True)
class Between:
    """What lies between the layers of one batch size: `h`, `kept` (z for gelu, else h) and `dz`, [K, B, padded width].

    `h` and `kept` of layers 1 .. L-1, `dz` of layers 1 .. L.
    """

    h: list[Tensor]
    kept: list[Tensor]
    dz: list[Tensor]


@dataclass(frozen=True)
class Call:
    """What a call of `run_steps` is about: the training set, rows [K, steps * batch], and what is noted of each step.

    `loss` float32 and `hit` int32 [steps, K, batch], `rates` float32 [steps, 2].
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    batch: int
    loss: Tensor
    hit: Tensor
    rates: Tensor


class Launches:
    """The launches of each step of a call, in their order."""

    def __init__(self, plan: Plan, parameters: StackedParameters, rule: Rule, activation: str, precision: str) -> None:
        self._plan, self._rule = plan, rule
        self._values, self._places = parameters.values, parameters.places
        self._classes = parameters.places[-1].fan_out
        self._every: dict[str, Any] = {"PREC": precision, "PDL": plan.pdl}
        if plan.pdl:
            self._every["launch_pdl"] = True
        self._activation = {"ACT": activation}

    def of(self, call: Call, between: Between) -> Iterator[Launch]:
        """Return the launches of a step."""
        for layer in range(1, len(self._places)):
            yield self._forward(layer, call, between)
        yield self._head(call, between)
        for layer in range(len(self._places) - 1, 1, -1):
            yield self._backward(layer, call, between)
        yield self._last(call, between)

    def _forward(self, layer: int, call: Call, between: Between) -> Launch:
        place, tile, out = self._places[layer - 1], self._plan.forward[layer - 1], between.h[layer - 1]
        first = layer == 1
        source = call.images if first else between.h[layer - 2]
        columns = tiles(place.stride, tile.columns)
        arguments = (
            *(call.images, call.rows, call.rows.stride(0)),
            *(out if first else source, 0 if first else source.stride(0), source.stride(0 if first else 1)),
            *(self._values, self._values.stride(0), place.weight_at, place.bias_at),
            *(out, between.kept[layer - 1], out.stride(0), place.fan_in, place.stride, columns, call.batch),
        )
        constants = {"BYTES": first, "ONE": tile.whole, "BM": tile.rows, "BN": tile.columns, "BK": tile.inner}
        constants |= {"S": tile.split, "SERIAL": tile.serial, "num_warps": tile.warps, "num_stages": tile.stages}
        grid = (tiles(call.batch, tile.rows) * columns, len(self._values))
        return Launch(forward, grid, arguments, constants | self._every | self._activation)

    def _head(self, call: Call, between: Between) -> Launch:
        place, tile, source, count = self._places[-1], self._plan.head, between.h[-1], len(self._values)
        columns = tiles(source.shape[2], tile.columns)
        arguments = (
            *(call.labels, call.rows, call.rows.stride(0)),
            *(source, between.kept[-1], source.stride(0), source.stride(1)),
            *(self._values, self._values.stride(0), place.weight_at, place.bias_at),
            *(between.dz[-1], between.dz[-1].stride(0), between.dz[-2], call.loss, call.hit),
            *(place.fan_in, place.stride, columns, call.batch, count),
        )
        constants = {"C": self._classes, "CC": CLASS_PLACES, "ONE": tile.whole, "BM": tile.rows, "BN": tile.columns}
        constants |= {"BK": tile.inner, "S": tile.split, "num_warps": tile.warps, "num_stages": tile.stages}
        grid = (tiles(call.batch, tile.rows) * columns, count)
        return Launch(head, grid, arguments, constants | self._every | self._activation)

    def _backward(self, layer: int, call: Call, between: Between) -> Launch:
        """dz_{layer-1} from dz_layer, and the update of layer + 1."""
        place, above, count = self._places[layer - 1], self._places[layer], len(self._values)
        tile, update = self._plan.backward[len(self._places) - 1 - layer]
        dz, below, kept = between.dz[layer - 1], between.dz[layer - 2], between.kept[layer - 2]
        columns, units = tiles(below.shape[2], tile.columns), tiles(above.stride, update.units)
        of_product = tiles(call.batch, tile.rows) * columns
        h, dz_above = between.h[layer - 1], between.dz[layer]
        arguments = (
            *(dz, dz.stride(0), kept, below.stride(0), below.stride(1), below),
            *(place.weight_at, place.fan_in, place.stride, of_product, columns),
            *(dz_above, dz_above.stride(0), h, h.stride(0), above.weight_at, above.bias_at, above.fan_in, above.stride),
            *(units, *self._state(), call.rates, self._rule.decay, self._rule.momentum, call.batch),
        )
        constants = {"ONE": tile.whole, "BM": tile.rows, "BN": tile.columns, "BK": tile.inner, "S": tile.split}
        constants |= {
            "SERIAL": tile.serial,
            "WONE": update.whole,
            "WM": update.inputs,
            "WN": update.units,
            "WK": update.images,
        }
        constants |= {"num_warps": tile.warps, "num_stages": max(tile.stages, update.stages)}
        grid = (of_product + tiles(above.fan_in, update.inputs) * units, count)
        return Launch(backward, grid, arguments, constants | self._of_update(update) | self._activation)

    def _last(self, call: Call, between: Between) -> Launch:
        (place, above), (first, second) = self._places[:2], self._plan.last
        dz, dz_above, h = between.dz[0], between.dz[1], between.h[0]
        units, units_above = tiles(place.stride, first.units), tiles(above.stride, second.units)
        of_place, of_above = tiles(place.fan_in, first.inputs) * units, tiles(above.fan_in, second.inputs) * units_above
        arguments = (
            *(call.images, call.rows, call.rows.stride(0), call.images.stride(0)),
            *(dz, dz.stride(0), place.weight_at, place.bias_at, place.fan_in, place.stride, of_place, units),
            *(
                dz_above,
                dz_above.stride(0),
                h,
                h.stride(0),
                above.weight_at,
                above.bias_at,
                above.fan_in,
                above.stride,
                units_above,
            ),
            *(*self._state(), call.rates, self._rule.decay, self._rule.momentum, call.batch),
        )
        constants = {"ONE": first.whole, "BM": first.inputs, "BN": first.units, "BK": first.images}
        constants |= {"WM": second.inputs, "WN": second.units, "WK": second.images}
        # dz_2 is older than the launch before only if that computed dz_1 from it.
        constants |= {"EARLY": len(self._places) > 2, "num_warps": first.warps, "num_stages": first.stages}
        return Launch(last, (of_place + of_above, len(self._values)), arguments, constants | self._of_update(first))

    def _state(self) -> tuple[Tensor, Tensor, Tensor, int]:
        return self._values, self._rule.first, self._rule.second, self._values.stride(0)

    def _of_update(self, tile: UpdateTile) -> dict[str, Any]:
        of_rule = {"OPT": self._rule.name, "STATE": tile.state}
        registers = {} if tile.registers is None else {"maxnreg": tile.registers}
        return self._every | of_rule | registers
