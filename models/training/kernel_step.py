"""The training step as a compiled kernel that skips zeros: four fifths of MNIST's pixels, and half of ReLU's outputs.

The formulas are those of `models.training.step`, and so are the numbers, up to the order in which sums are added. The
kernel works through a batch image by image and then through the weights row by row, and uses each gradient while it is
in registers (`models/native/body.h`). Members of a run take turns. The bits do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from models.native import KERNEL_ACTIVATIONS
from models.native.row_layout import LINE, columns_of, stride_of
from models.training import huge_pages
from models.training.kernel_library import (
    BLOCK_ROWS,
    PACE_FIELDS,
    Kernel,
    LayerOfKernel,
    ListsOfKernel,
    OptimizerOfKernel,
    StepOfKernel,
)
from models.training.stacked_parameters import StackedParameters
from models.training.step import Step
from models.vocabulary import LEAKY_RELU_SLOPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.network.architecture import Architecture
    from models.network.mlp import Network
    from models.spec import SGD, Adam

KINDS = {"sgd": 0, "adam": 1}
SECONDS_AT_ONCE = 0.05
"""How long a turn of a network may take: the host checks losses and signals when each has had one."""
MIN_IMAGES_OF_A_THREAD = 25
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class _Steps(NamedTuple):
    """The steps of one call.

    `images`, `labels`, `chosen` as in `Step.run_steps`; of each step the optimizer's rate and root of correction, see
    `struct optimizer`.
    """

    images: Tensor
    labels: Tensor
    chosen: Tensor
    rates: ctypes.Array[ctypes.c_double]
    roots_of_correction: ctypes.Array[ctypes.c_double]

    @property
    def batch(self) -> int:
        """Return how many images a step sees."""
        return self.chosen.shape[1] // len(self.rates)


class KernelStep(Step):
    """The step by the compiled kernel, on a CPU; see `Step`. float32 trains, float64 is for checks."""

    def __init__(
        self,
        networks: Sequence[Network],
        architecture: Architecture,
        optimizer: Adam | SGD,
        kernel: Kernel,
        dtype: torch.dtype = torch.float32,
        *,
        pixels: Tensor | None = None,
    ) -> None:
        if pixels is None:
            pixels = torch.arange(architecture.sizes[0])
        cpu = torch.device("cpu")
        super().__init__(StackedParameters(networks, architecture, pixels, cpu, dtype, stride_of), optimizer)
        self.engine = f"sparse-kernel-{kernel.variant}"
        self._function = kernel.float32 if dtype == torch.float32 else kernel.float64
        self._adam = optimizer.name == "adam"
        self._lr = optimizer.lr
        self._steps = 0
        self._gradients = self.parameters.zeros()
        self._kept_alive: list[object] = []
        self._layers, transposed_length = self._lay_out_transposed()
        self._transposed = huge_pages.zeros((self.count, transposed_length), dtype, cpu)
        self._transpose()
        self._optimizer = OptimizerOfKernel(
            kind=KINDS[optimizer.name],
            weight_decay=optimizer.weight_decay,
            momentum=0.0 if optimizer.name == "adam" else optimizer.momentum,
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON,
        )
        self._structures: dict[int, list[StepOfKernel]] = {}
        self._steps_at_once = 1

    @property
    def lr(self) -> float:
        """Return the learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = value

    @property
    def steps(self) -> int:
        """Return how many steps Adam has taken; 0 for SGD."""
        return self._steps

    @steps.setter
    def steps(self, value: int) -> None:
        self._steps = value

    @property
    def steps_at_once(self) -> int:
        """Return how many steps of a network take about `SECONDS_AT_ONCE`, by the last ones."""
        return self._steps_at_once

    def run_steps(self, images: Tensor, labels: Tensor, chosen: Tensor, lrs: Sequence[float] | Tensor) -> Tensor:
        """Take some steps, each network all of its own in turn; see `Step.run_steps`.

        A network whose loss is not finite takes no further step.
        """
        rates, roots = [float(lr) for lr in lrs], [1.0] * len(lrs)
        self.lr = rates[-1]
        if self._adam:
            counts = range(self._steps + 1, self._steps + len(lrs) + 1)
            rates = [lr / (1 - BETA1**count) for lr, count in zip(rates, counts, strict=True)]
            roots = [math.sqrt(1 - BETA2**count) for count in counts]
            self._steps += len(lrs)
        steps = _Steps(images, labels, chosen, _doubles(rates), _doubles(roots))
        started = time.perf_counter()
        losses = torch.full((len(lrs), self.count), math.nan, dtype=self.losses.dtype)
        for index in range(self.count):
            if index not in self.masked:
                self._call(index, steps, losses)
        step_s = (time.perf_counter() - started) / len(lrs) / max(1, self.count - len(self.masked))
        self._steps_at_once = max(1, int(SECONDS_AT_ONCE / step_s))
        return losses

    def _gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        steps = _Steps(images, labels, chosen, _doubles([0.0]), _doubles([1.0]))
        losses = torch.empty((1, self.count), dtype=self.losses.dtype)
        for index in range(self.count):
            self._call(index, steps, losses, self._gradients[index].data_ptr())
        return self._gradients

    def _call(self, index: int, steps: _Steps, losses: Tensor, gradients: int | None = None) -> None:
        """Let the kernel take the steps of one network, or, with the address of `gradients`, fill those only."""
        if steps.batch not in self._structures:
            self._structures[steps.batch] = self._structures_for(steps.batch)
        structure, own = self._structures[steps.batch][index], steps.chosen[index]
        assert steps.images.is_contiguous()
        assert own.is_contiguous()
        structure.images, structure.labels = steps.images.data_ptr(), steps.labels.data_ptr()
        structure.chosen = own.data_ptr()
        structure.gradients = gradients
        self._function(
            ctypes.byref(structure),
            len(steps.rates),
            steps.rates,
            steps.roots_of_correction,
            losses[:, index].data_ptr(),
            losses.stride(0),
        )

    # -- memory ------------------------------------------------------------------------------------------

    def _lay_out_transposed(self) -> tuple[ctypes.Array[LayerOfKernel], int]:
        layers, end = [], 0
        for place in self.parameters.places:
            stride, columns = stride_of(place.fan_in), columns_of(place.fan_out)
            layers.append(
                LayerOfKernel(place.fan_in, place.fan_out, columns, place.stride, place.weight_at, end, stride)
            )
            end += place.fan_out * stride
        return (LayerOfKernel * len(layers))(*layers), end

    def _transpose(self) -> None:
        """Make the transposed weights what the weights are; after that every step keeps them so."""
        for layer, views in zip(self._layers, self.parameters.layers, strict=True):
            end = layer.transposed_at + layer.fan_out * layer.transposed_stride
            rows = self._transposed[:, layer.transposed_at : end].view(self.count, layer.fan_out, -1)
            rows[:, :, : layer.fan_in].copy_(views.weight.transpose(1, 2))

    def _structures_for(self, batch: int) -> list[StepOfKernel]:
        # Every thread goes through all weights for its share of the images, which must be worth the way.
        threads = min(torch.get_num_threads(), max(1, batch // MIN_IMAGES_OF_A_THREAD))
        count, dtype = len(self._layers), self.parameters.values.dtype
        inputs = [self._lists(layer.fan_in, batch) for layer in self._layers]
        scratch = [self._lists(layer.fan_out, batch) for layer in self._layers]
        h, dz = (
            (ctypes.c_void_p * count)(*(self._new((batch, layer.stride), dtype) for layer in self._layers))
            for _ in range(2)
        )
        shared = {
            "layers": ctypes.addressof(self._layers),
            "layer_count": count,
            "batch": batch,
            "activation": KERNEL_ACTIVATIONS.index(self.parameters.architecture.activation),
            "slope": LEAKY_RELU_SLOPE,
            "optimizer": ctypes.addressof(self._optimizer),
            "inputs": self._address((ListsOfKernel * count)(*inputs)),
            "scratch": self._address((ListsOfKernel * count)(*scratch)),
            "h": self._address(h),
            "dz": self._address(dz),
            "image_losses": self._new((batch,), torch.float64),
            "image_hits": self._new((batch,), torch.int64),
            "gathered_images": self._new((threads, BLOCK_ROWS + 1, batch), torch.uint16),
            "gathered_values": self._new((threads, BLOCK_ROWS + 1, batch), dtype),
            "threads": threads,
            "pace": self._new((PACE_FIELDS,), torch.int64),
        }
        return [StepOfKernel(**shared, **self._of_member(index)) for index in range(self.count)]

    def _of_member(self, index: int) -> dict[str, int | None]:
        moments = [flat[index].data_ptr() for flat in self.memory.values()]
        first, second = (*moments, None, None)[:2]
        return {
            "values": self.parameters.values[index].data_ptr(),
            "first_moment": first,
            "second_moment": second,
            "transposed": self._transposed[index].data_ptr(),
            "loss": self.losses[index].data_ptr(),
            "loss_sum": self.loss_sums[index].data_ptr(),
            "hit_sum": self.hit_sums[index].data_ptr(),
        }

    def _lists(self, width: int, batch: int) -> ListsOfKernel:
        blocks = -(-width // BLOCK_ROWS) + 1
        dtype = self.parameters.values.dtype
        capacity = columns_of(width) + LINE  # whole vectors are stored at its end
        places, values = self._new((batch, capacity), torch.uint16), self._new((batch, capacity), dtype)
        return ListsOfKernel(places, values, self._new((batch, blocks), torch.int32), width, capacity, blocks)

    def _new(self, shape: tuple[int, ...], dtype: torch.dtype) -> int:
        """Return the address of new memory that lives as long as this step."""
        tensor = huge_pages.zeros(shape, dtype, torch.device("cpu"))
        self._kept_alive.append(tensor)
        return tensor.data_ptr()

    def _address(self, array: ctypes.Array[Any]) -> int:
        self._kept_alive.append(array)
        return ctypes.addressof(array)


def _doubles(values: Sequence[float]) -> ctypes.Array[ctypes.c_double]:
    return (ctypes.c_double * len(values))(*values)
