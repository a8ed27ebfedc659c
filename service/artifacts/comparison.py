"""The comparison of a file with its recorded SHA-256, and which files were compared."""

from __future__ import annotations

from collections.abc import Hashable

from models.errors import CheckpointDamaged

KEPT = 10_000


class Compared:
    """The states of files that were compared with their SHA-256, so that each is compared once."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[Hashable, str]] = {}

    def has(self, path: str, state: Hashable, sha256: str) -> bool:
        """Return whether a file was compared in this state. `state` changes with the content, as an ETag does."""
        return self._states.get(path) == (state, sha256)

    def note(self, path: str, state: Hashable, sha256: str) -> None:
        """Keep that a file was compared in this state."""
        if len(self._states) >= KEPT:
            self._states.clear()
        self._states[path] = state, sha256


def compare(path: str, found: str, sha256: str) -> None:
    """Raise `CheckpointDamaged` if the hash that was found is not the recorded one."""
    if found != sha256:
        raise damaged(path, "its SHA-256 differs from the recorded one")


def damaged(path: str, how: str) -> CheckpointDamaged:
    """Return the error of a file that is not what was written."""
    return CheckpointDamaged(f"The checkpoint file {path} is damaged: {how}.")


def missing(path: str) -> CheckpointDamaged:
    """Return the error of a file that is not there."""
    return CheckpointDamaged(f"The checkpoint file {path} is missing.")
