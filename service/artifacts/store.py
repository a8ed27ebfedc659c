"""What a store of checkpoint files does, whichever it is, and which one the settings mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from service.errors import Unavailable


class StoredFile(NamedTuple):
    """A file that has its SHA-256: its size, the hash in hex, and how to read a part of it."""

    size_bytes: int
    sha256: str
    read: Callable[[int, int], Iterable[bytes]]
    """Returns the bytes from a first one to before a last one, in pieces. Raises `Unavailable`."""


class Log(NamedTuple):
    """A file that may be written again: its content, None if it has not changed, and what changes with it."""

    content: bytes | None
    state: str


class Condition(NamedTuple):
    """Whether this process may write to a store, and the room that is left; None where there is no limit."""

    is_writable: bool
    free_bytes: int | None


def require_writable(artifacts: Artifacts) -> None:
    """Raise `Unavailable` if this process cannot write to a store."""
    if not artifacts.check().is_writable:
        raise Unavailable(f"{artifacts.where} cannot be written.", "Give this process the right to write there.")


class Artifacts(Protocol):
    """The files of all jobs. `path` arguments are those of `layout`; all methods may raise `Unavailable`."""

    @property
    def where(self) -> str:
        """Return the folder or the address, without secrets."""

    @property
    def is_remote(self) -> bool:
        """Return whether the files are behind a network, which may be away while this machine is well."""

    @property
    def is_waiting(self) -> bool:
        """Return whether a call waits for a store that is away."""

    def write(self, path: str, content: bytes) -> str:
        """Write a new file as `write_all` does, and return its SHA-256 in hex."""

    def write_all(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write new files durably, and return the SHA-256 of each in hex, by path.

        A file appears whole or not at all. If this fails, some may be there; no row points to them, and the sweep
        deletes them. Raises `FileExistsError` if one exists already.
        """

    def read(self, path: str, sha256: str) -> bytes:
        """Return the content of a file. Raises `CheckpointDamaged` if it is missing or does not have this SHA-256."""

    def stored(self, path: str, sha256: str) -> StoredFile:
        """Return a file to be read in parts, after a comparison with its SHA-256, made once for each of its states.

        Raises as `read` does.
        """

    def local_copy(self, path: str, sha256: str) -> AbstractContextManager[Path]:
        """Return a context with a file of this content on this machine's disk, for a process that reads it by name.

        That process compares the SHA-256. Raises `CheckpointDamaged` if the file is missing.
        """

    def replace(self, path: str, content: bytes) -> None:
        """Write a file that may be written again, such as a log: it appears whole, and may be lost with the power."""

    def read_log(self, path: str, known: str | None = None) -> Log | None:
        """Return a file that may be written again, without its content if its state is `known`; None without one."""

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""

    def delete_below(self, path: str) -> None:
        """Delete a folder with all its files, if it exists."""

    def list_below(self, path: str) -> list[str]:
        """Return the sorted paths of all files in a folder, partial ones included; empty if it does not exist."""

    def list_folders(self, path: str) -> list[str]:
        """Return the sorted names of the subfolders of a folder; empty if it does not exist."""

    def check(self) -> Condition:
        """Return whether the store can be used, after writing something small. Raises `Unavailable` if it cannot."""
