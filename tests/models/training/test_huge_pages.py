"""Memory in large pages is memory: zero, writable, alive as long as its tensor, and there without such pages too."""

from __future__ import annotations

import gc
import mmap

import pytest
import torch

from models.training.huge_pages import LARGE_PAGE_BYTES, columns, zeros

CPU = torch.device("cpu")
HAS_LARGE_PAGES = hasattr(mmap, "MADV_HUGEPAGE")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_large_memory_is_zero_writable_and_lives_with_its_tensor(dtype: torch.dtype) -> None:
    tensor = zeros((3, 1000, 333), dtype, CPU)
    assert (tensor.shape, tensor.dtype) == ((3, 1000, 333), dtype)
    assert not tensor.any()
    part = tensor[1].fill_(7)
    del tensor
    gc.collect()
    assert bool((part == 7).all())


@pytest.mark.skipif(not HAS_LARGE_PAGES, reason="needs Linux")
def test_it_begins_with_a_large_page() -> None:
    assert zeros((1 << 20,), torch.float32, CPU).data_ptr() % LARGE_PAGE_BYTES == 0


def test_without_large_pages_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    if HAS_LARGE_PAGES:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert not zeros((1 << 20,), torch.float32, CPU).any()


def test_chosen_columns_are_those_of_the_original() -> None:
    values, chosen = torch.arange(800_000, dtype=torch.float32).view(1000, 800), torch.tensor([3, 5, *range(100, 700)])
    assert torch.equal(columns(values, chosen, CPU), values[:, chosen])
