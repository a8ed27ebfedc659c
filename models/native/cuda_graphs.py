"""Capture what a GPU does in a CUDA graph, so that the host replays many kernels by one call.

The host would need ten to twenty times as long to launch a training step's kernels as the GPU to run them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

WARM_UPS = 2


def captured(
    run: Callable[[], None],
    changing: Sequence[Tensor],
    device: torch.device,
    generators: Sequence[torch.Generator] = (),
) -> torch.cuda.CUDAGraph:
    """Return a graph that does what `run` does on a GPU, on the same tensors.

    `run` must not wait for the GPU or copy from it. It is called a few times before the capture. What it changes and
    later calls read is `changing` and the state of `generators`, on the device; both are afterwards as they were.
    """
    before, states = [tensor.clone() for tensor in changing], [generator.get_state() for generator in generators]
    aside = _aside(device)
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph, stream=aside):
        run()
    for tensor, old in zip(changing, before, strict=True):
        tensor.copy_(old)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    return graph


def wait_for(before: torch.cuda.Event | None) -> torch.cuda.Event:
    """Wait for `before`, the event of the previous replay, and return that of the last replay.

    The host is thus at most one replay ahead of the device.
    """
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    if before is not None:
        before.synchronize()
    return event


@cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """Return the stream for warm-up and capture: one, since cuBLAS keeps 32 MiB for each that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
