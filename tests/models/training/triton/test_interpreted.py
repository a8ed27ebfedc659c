"""The tests in `interpreted` pass in a process where Triton interprets kernels instead of compiling them."""

from __future__ import annotations

from tests.models.training.triton.conftest import Interpreted


def test_kernels_do_in_the_interpreter_what_torch_does(interpreted: Interpreted) -> None:
    status, output = interpreted.result(limit_s=300)
    assert status == 0, output[-10_000:]
    assert " passed" in output
