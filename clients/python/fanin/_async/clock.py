"""Pauses."""

from __future__ import annotations

import anyio


async def sleep(seconds: float) -> None:
    """Pause for some seconds."""
    await anyio.sleep(seconds)
