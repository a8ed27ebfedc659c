"""Checkpoint files in a folder. A file appears complete or not at all, and is immutable."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from service.artifacts.comparison import Compared, compare, missing
from service.artifacts.store import Condition, Log, StoredFile
from service.errors import Unavailable

FILES_AT_ONCE = 4
PIECE_BYTES = 256 * 1024
"""Bytes per write call: on Linux 6.18 with ext4, 3 MB in one call took 5.4 ms of processor time, in pieces 0.8 ms."""


class Folder:
    """The files under the folder `root`; the contracts are those of `Artifacts`."""

    is_remote = is_waiting = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._compared = Compared()
        self._disk = ThreadPoolExecutor(FILES_AT_ONCE, "disk")

    @property
    def where(self) -> str:
        """Return the folder."""
        return str(self._root)

    def write(self, path: str, content: bytes) -> str:
        """Write a new file as `write_all` does, and return its SHA-256 in hex."""
        return self.write_all({path: content})[path]

    def write_all(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write new files durably (fsync), and return the SHA-256 of each in hex, by path.

        The files are flushed to the disk concurrently, and hashed meanwhile. No file appears before all are on the
        disk; then they appear one by one, in the order of `contents`. Raises `FileExistsError` if one exists already.
        """
        targets = {path: self._root / path for path in contents}
        for target in targets.values():
            if target.exists():
                raise FileExistsError(f"{target} exists already; checkpoint files are immutable")
            target.parent.mkdir(parents=True, exist_ok=True)
        parts = {path: file.with_name(f".{file.name}.{uuid.uuid4().hex}.part") for path, file in targets.items()}
        try:
            digests = self._written({parts[path]: content for path, content in contents.items()})
            for path, target in targets.items():
                parts[path].replace(target)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
        list(self._disk.map(_fsync_folder, {target.parent for target in targets.values()}))
        return dict(zip(contents, digests, strict=True))

    def _written(self, contents: Mapping[Path, bytes]) -> list[str]:
        """Write files, wait until they are on the disk, and return their SHA-256 in hex."""
        with ExitStack() as files:
            reaching_disk: list[Future[None]] = []
            files.callback(lambda: wait(reaching_disk))  # keeps each file open until its fsync has ended
            for path, content in contents.items():
                file = files.enter_context(path.open("xb"))
                whole = memoryview(content)
                for start in range(0, len(whole), PIECE_BYTES):
                    file.write(whole[start : start + PIECE_BYTES])
                file.flush()
                reaching_disk.append(self._disk.submit(os.fsync, file.fileno()))
            digests = [hashlib.sha256(content).hexdigest() for content in contents.values()]
            for flush in reaching_disk:
                flush.result()
        return digests

    def read(self, path: str, sha256: str) -> bytes:
        """Return the content of a file. Raises `CheckpointDamaged` if it is missing or does not have this SHA-256.

        Raises `Unavailable` if the root folder is missing or the file cannot be read: that may be temporary.
        """
        with self._errors_of(path):
            content = (self._root / path).read_bytes()
        compare(path, hashlib.sha256(content).hexdigest(), sha256)
        return content

    @contextmanager
    def local_copy(self, path: str, sha256: str) -> Iterator[Path]:  # noqa: ARG002 - the process that reads it compares
        """Yield the file itself, unchecked."""
        with self._errors_of(path), (self._root / path).open("rb"):
            pass
        yield self._root / path

    @contextmanager
    def _errors_of(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise Unavailable(f"The checkpoint folder {self._root} does not exist.", "Is it mounted?") from error
            raise missing(path) from error
        except OSError as error:
            raise Unavailable(f"The checkpoint file {path} cannot be read: {error.strerror}.") from error

    def stored(self, path: str, sha256: str) -> StoredFile:
        """Return where a file is, after a comparison with its SHA-256 that is made once for each state of the file.

        Raises as `read` does.
        """
        file = self._root / path
        try:
            found = file.stat()
        except OSError:
            self.read(path, sha256)  # raises the error that says why
            raise
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if not self._compared.has(path, state, sha256):
            self.read(path, sha256)
            self._compared.note(path, state, sha256)
        return StoredFile(found.st_size, sha256, partial(self._pieces, path))

    def _pieces(self, path: str, first: int, end: int) -> Iterator[bytes]:
        with self._errors_of(path), (self._root / path).open("rb") as file:
            file.seek(first)
            while first < end and (piece := file.read(min(PIECE_BYTES, end - first))):
                first += len(piece)
                yield piece

    def replace(self, path: str, content: bytes) -> None:
        """Write a file that may be written again, such as a log: it appears whole, and may be lost with the power."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            part.write_bytes(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def read_log(self, path: str, known: str | None = None) -> Log | None:
        """Return a file that may be written again; its time and its size are its state."""
        try:
            with (self._root / path).open("rb") as file:
                found = os.fstat(file.fileno())
                state = f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}"
                return Log(None if state == known else file.read(), state)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"The log {path} cannot be read: {error.strerror}.") from error

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""
        (self._root / path).unlink(missing_ok=True)

    def delete_below(self, path: str) -> None:
        """Delete a folder with all its files, if it exists."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / path)

    def list_below(self, path: str) -> list[str]:
        """Return the sorted paths of all files in a folder, partial ones included; empty if it does not exist."""
        entries = (self._root / path).rglob("*")
        return sorted(file.relative_to(self._root).as_posix() for file in entries if file.is_file())

    def list_folders(self, path: str) -> list[str]:
        """Return the sorted names of the subfolders of a folder; empty if it does not exist."""
        folder = self._root / path
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def check(self) -> Condition:
        """Write a small file and delete it, unless the folder is read-only."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(self._root).free
            if not os.access(self._root, os.W_OK):
                return Condition(is_writable=False, free_bytes=free_bytes)
            probe = self._root / f".ready-{uuid.uuid4().hex}"
            try:
                probe.write_bytes(b"1")
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(
                f"The folder of checkpoints cannot be used: {error.strerror}.", "Is it mounted, and not full?"
            ) from error
        return Condition(is_writable=True, free_bytes=free_bytes)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
