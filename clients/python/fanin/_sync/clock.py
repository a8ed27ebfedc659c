"""Pauses."""

from __future__ import annotations

import time


def sleep(seconds: float) -> None:
    """Pause for some seconds."""
    time.sleep(seconds)
