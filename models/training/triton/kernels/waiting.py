"""How a kernel waits for the one before it, where the card lets it start earlier."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def wait(PDL: tl.constexpr):
    """Wait for all that the launch before wrote; from then on the next launch may start."""
    if PDL:
        gdc_wait()
        gdc_launch_dependents()
