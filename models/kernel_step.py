"""The training step as a compiled kernel that skips zeros: four fifths of MNIST's pixels, and half of ReLU's outputs.

The mathematics are those of `models.step`, and so are the numbers up to the order in which sums are added. A batch is
worked through image by image and then row of weights by row of weights, each gradient being used while it is in
registers, see `models/native/body.h`. Members of a run take turns. The bits do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models import large_pages
from models.cache_lines import LINE, columns_of, stride_of
from models.kernel import (
    BLOCK_ROWS,
    KERNEL_ACTIVATIONS,
    Kernel,
    LayerOfKernel,
    ListsOfKernel,
    OptimizerOfKernel,
    StepOfKernel,
)
from models.parameters import StackedParameters
from models.spec import LEAKY_RELU_SLOPE
from models.step import Step
from models.team import Team

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.mlp import Network
    from models.spec import SGD, Adam, Architecture

KINDS = {"sgd": 0, "adam": 1}
LEAST_IMAGES_OF_A_THREAD = 25
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


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
        self._transposed = large_pages.zeros((self.count, transposed_length), dtype, cpu)
        self._transpose()
        self._optimizer = OptimizerOfKernel(
            kind=KINDS[optimizer.name],
            weight_decay=optimizer.weight_decay,
            momentum=0.0 if optimizer.name == "adam" else optimizer.momentum,
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON,
            root_of_correction=1.0,
        )
        self._structures: dict[int, list[StepOfKernel]] = {}
        self._teams: dict[int, Team] = {}

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

    def run(self, images: Tensor, labels: Tensor, chosen: Tensor) -> None:
        """Take one optimizer step on a batch; see `Step.run`."""
        self._optimizer.rate = self._lr
        if self._adam:
            self._steps += 1
            self._optimizer.rate = self._lr / (1 - BETA1**self._steps)
            self._optimizer.root_of_correction = math.sqrt(1 - BETA2**self._steps)
        for index in range(self.count):
            if index not in self.masked:
                self._call(index, images, labels, chosen, None)

    def _gradients_of(self, images: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        for index in range(self.count):
            self._call(index, images, labels, chosen, self._gradients[index].data_ptr())
        return self._gradients

    def _call(self, index: int, images: Tensor, labels: Tensor, chosen: Tensor, gradients: int | None) -> None:
        batch = chosen.shape[1]
        if batch not in self._structures:
            # Every thread goes through all weights for its share of the images, which must be worth the way.
            most_threads = min(torch.get_num_threads(), max(1, batch // LEAST_IMAGES_OF_A_THREAD))
            self._teams[batch] = Team(most_threads)
            self._structures[batch] = self._structures_for(batch, most_threads)
        structure, own, team = self._structures[batch][index], chosen[index], self._teams[batch]
        assert images.is_contiguous()
        assert own.is_contiguous()
        structure.images, structure.labels, structure.chosen = images.data_ptr(), labels.data_ptr(), own.data_ptr()
        structure.gradients, structure.threads = gradients, team.threads
        started = time.perf_counter()
        self._function(ctypes.byref(structure))
        team.took(time.perf_counter() - started)

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

    def _structures_for(self, batch: int, most_threads: int) -> list[StepOfKernel]:
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
            "gathered_images": self._new((most_threads, BLOCK_ROWS + 1, batch), torch.uint16),
            "gathered_values": self._new((most_threads, BLOCK_ROWS + 1, batch), dtype),
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
        tensor = large_pages.zeros(shape, dtype, torch.device("cpu"))
        self._kept_alive.append(tensor)
        return tensor.data_ptr()

    def _address(self, array: ctypes.Array[Any]) -> int:
        self._kept_alive.append(array)
        return ctypes.addressof(array)
