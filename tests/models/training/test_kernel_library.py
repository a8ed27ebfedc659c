"""The compiled kernel: found where it was built, refused where it is of another version, absent without a compiler."""

from __future__ import annotations

import ctypes.util
import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from models.native.row_layout import LINE, columns_of, stride_of
from models.training import kernel_library as kernel_module
from models.training.kernel_library import RUNS, kernel, load_kernel, runnable


def test_the_best_variant_that_runs_here_is_taken() -> None:
    found = kernel()
    if found is None:
        pytest.skip("no kernel: it needs a C compiler when installing Fanin")
    built = [variant for variant in runnable() if load_kernel(variant) is not None]
    assert found.variant == built[0]


def test_every_ability_that_torch_names_has_its_variants() -> None:
    assert runnable() == RUNS.get(torch.backends.cpu.get_cpu_capability(), ("baseline",))
    assert all("baseline" in variants for variants in RUNS.values())


def test_what_was_not_built_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert load_kernel.__wrapped__("avx2") is None


def test_a_library_of_another_version_is_told_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ModuleSpec("libc", None, origin=ctypes.util.find_library("c"))  # any library without our structures
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: libc)
    with pytest.warns(UserWarning, match="another version"):
        assert load_kernel.__wrapped__("avx2") is None


@pytest.mark.parametrize("width", [1, 10, 16, 64, 100, 256, 512, 8192])
def test_rows_are_whole_cache_lines_and_do_not_share_a_few_sets(width: int) -> None:
    assert columns_of(width) >= width
    assert columns_of(width) % LINE == stride_of(width) % LINE == 0
    assert stride_of(width) % 64 != 0


def test_the_sources_in_c_are_part_of_the_package() -> None:
    folder = Path(kernel_module.__file__).parents[1] / "native"
    sources = {"step.c", "body.h", "listed_rows.h", "forward.c", "probabilities.h", "likely.c"}
    assert sources <= {path.name for path in folder.iterdir()}
