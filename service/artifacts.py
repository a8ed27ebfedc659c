"""Where checkpoint files live: a folder. A file appears whole or not at all, and is never changed.

Paths are relative, with "/", so that they mean the same to every process and an object store could take the
folder's place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path

from models.errors import CheckpointDamaged
from service.errors import Unavailable

JOBS = "jobs"
FILES_AT_ONCE = 4
PIECE_BYTES = 256 * 1024
"""How much one call writes. Given 3 MB at once, Linux 6.18 with ext4 took 5.4 ms of processor time, in pieces 0.8."""


def job_folder(job_id: str) -> str:
    """Return the folder of all files of a job."""
    return f"{JOBS}/{job_id}"


def attempt_folder(job_id: str, run_id: str, attempt: int) -> str:
    """Return the folder that one attempt alone writes in."""
    return f"{job_folder(job_id)}/{run_id}-{attempt}"


class Artifacts:
    """The files under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._disk = ThreadPoolExecutor(FILES_AT_ONCE, "disk")

    def write(self, path: str, content: bytes) -> str:
        """Write a new file as `write_all` does, and return its SHA-256 in hex."""
        return self.write_all({path: content})[path]

    def write_all(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write new files that survive a power cut, and return the SHA-256 of each in hex, by its path.

        They are brought to the disk at the same time, and hashed meanwhile. Raises `FileExistsError` rather than change
        a file. None is there before all have reached the disk; then they appear one after another, in their order.
        """
        targets = {path: self._root / path for path in contents}
        for target in targets.values():
            if target.exists():
                raise FileExistsError(f"{target} exists already; checkpoint files are never changed")
            target.parent.mkdir(parents=True, exist_ok=True)
        parts = {path: one.with_name(f".{one.name}.{uuid.uuid4().hex}.part") for path, one in targets.items()}
        try:
            digests = self._written({parts[path]: content for path, content in contents.items()})
            for path, target in targets.items():
                parts[path].replace(target)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
        for folder in {target.parent for target in targets.values()}:
            _fsync_folder(folder)
        return dict(zip(contents, digests, strict=True))

    def _written(self, contents: Mapping[Path, bytes]) -> list[str]:
        """Write files and wait until the disk has them; return their hashes."""
        with ExitStack() as files:
            reaching_disk: list[Future[None]] = []
            files.callback(lambda: wait(reaching_disk))  # a file stays open as long as it is being brought to the disk
            for path, content in contents.items():
                file = files.enter_context(path.open("xb"))
                whole = memoryview(content)
                for start in range(0, len(whole), PIECE_BYTES):
                    file.write(whole[start : start + PIECE_BYTES])
                file.flush()
                reaching_disk.append(self._disk.submit(os.fsync, file.fileno()))
            digests = [hashlib.sha256(content).hexdigest() for content in contents.values()]
            for one in reaching_disk:
                one.result()
        return digests

    def read(self, path: str, sha256: str) -> bytes:
        """Read a file. Raises `CheckpointDamaged` if it is missing or not the bytes that were written.

        A folder that is not there, or a file that cannot be read for now, is no damage: raises `Unavailable`.
        """
        try:
            content = (self._root / path).read_bytes()
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise Unavailable(
                    f"The folder of checkpoints, {self._root}, is not there.", "Is it mounted?"
                ) from error
            raise CheckpointDamaged(f"The checkpoint file {path} is not there.") from error
        except OSError as error:
            raise Unavailable(f"The checkpoint file {path} cannot be read for now: {error.strerror}.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CheckpointDamaged(
                f"The checkpoint file {path} is damaged: its bytes are not those that were written."
            )
        return content

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        (self._root / path).unlink(missing_ok=True)

    def delete_below(self, path: str) -> None:
        """Delete a folder with all its files, if it is there."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / path)

    def list_below(self, path: str) -> list[str]:
        """Return the paths of all files in a folder, those that are being written included; none if it is not there."""
        found = (self._root / path).rglob("*")
        return sorted(file.relative_to(self._root).as_posix() for file in found if file.is_file())

    def list_folders(self, path: str) -> list[str]:
        """Return the names of the folders in a folder; none if it is not there."""
        folder = self._root / path
        return sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
