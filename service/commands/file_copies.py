"""Copy checkpoint files from one store to another: a folder or object storage, whichever each is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from models.errors import CheckpointDamaged
from service.artifacts.groups import in_groups
from service.artifacts.store import Artifacts, require_writable
from service.store.transfer import FileOfRow

FILES_AT_ONCE = 16
BYTES_AT_ONCE = 256 * 2**20
"""Of the files that are in memory together; a single one may be larger."""


def copy_files(source: Artifacts, target: Artifacts, files: Sequence[FileOfRow]) -> int:
    """Copy files that are not there yet, durably; return how many are missing or damaged in `source`.

    A file of the target that is damaged is written again. Raises `Unavailable`, `OSError`.
    """
    require_writable(target)
    lost = 0
    with ThreadPoolExecutor(FILES_AT_ONCE, "copies") as pool:
        for some in in_groups(files, lambda file: file.about_bytes, FILES_AT_ONCE, BYTES_AT_ONCE):
            there = pool.map(partial(_is_whole, target), some)
            wanted = [file for file, is_there in zip(some, there, strict=True) if not is_there]
            contents = dict(zip(wanted, pool.map(partial(_content, source), wanted), strict=True))
            found = {file.path: content for file, content in contents.items() if content is not None}
            lost += len(wanted) - len(found)
            for path in found:
                target.delete(path)
            target.write_all(found)
    return lost


def _is_whole(store: Artifacts, file: FileOfRow) -> bool:
    """Return whether a file is there and has its SHA-256."""
    try:
        store.stored(file.path, file.sha256)
    except (CheckpointDamaged, FileNotFoundError):
        return False
    return True


def _content(store: Artifacts, file: FileOfRow) -> bytes | None:
    """Return the content of a file; None if it is missing or damaged."""
    try:
        return store.read(file.path, file.sha256)
    except CheckpointDamaged:
        return None
