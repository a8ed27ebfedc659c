"""A wall clock of processes that jumps at a word: see jumping_clock.c."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path


class JumpingClock:
    """The wall clock of the processes that are started with `environment`; see jumping_clock.c. Needs a C compiler."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        library, offset = folder / "jumping_clock.so", folder / "clock"
        source = Path(__file__).with_name("jumping_clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        offset.write_bytes(bytes(8))
        for path in (folder, library, offset):
            path.chmod(0o755)  # PostgreSQL runs as another user
        self._offset = offset
        self.environment = {"LD_PRELOAD": str(library), "FANIN_CLOCK_OFFSET": str(offset)}

    def jump(self, seconds: int) -> None:
        """Let the clock be `seconds` ahead of the true one, in all processes at once."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
