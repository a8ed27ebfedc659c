"""Files are copied in groups that fit in memory, and one that is there already is not copied again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from service.artifacts.folder import Folder
from service.commands.file_copies import BYTES_AT_ONCE, copy_files
from service.store.transfer import FileOfRow


def stored(folder: Folder, number: int, about_bytes: int) -> FileOfRow:
    content = b"weights %d" % number
    path = f"jobs/job_{number}/a/{number:06d}.weights.safetensors"
    folder.write(path, content)
    return FileOfRow(path, hashlib.sha256(content).hexdigest(), f"job_{number}", number, False, about_bytes)


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Folder, Folder]:
    (tmp_path / "to").mkdir()
    (tmp_path / "from").mkdir()
    return Folder(tmp_path / "from"), Folder(tmp_path / "to")


@pytest.mark.parametrize(
    ("about_bytes", "together"), [(1000, 16), (BYTES_AT_ONCE // 4, 4), (BYTES_AT_ONCE // 2 + 1, 1), (2**40, 1)]
)
def test_as_many_are_in_memory_as_fit(
    about_bytes: int, together: int, stores: tuple[Folder, Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = stores
    files = [stored(source, number, about_bytes) for number in range(17)]
    sizes, original = [], target.write_all

    def counted(contents: Mapping[str, bytes]) -> dict[str, str]:
        sizes.append(len(contents))
        return original(contents)

    monkeypatch.setattr(target, "write_all", counted)
    assert copy_files(source, target, files) == 0
    assert max(sizes) == together
    assert sum(sizes) == 17
    assert [target.read(file.path, file.sha256) for file in files] == [
        source.read(file.path, file.sha256) for file in files
    ]


def test_only_what_is_missing_or_damaged_is_copied(
    stores: tuple[Folder, Folder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, target = stores
    files = [stored(source, number, 10) for number in range(4)]
    copy_files(source, target, files[:3])
    (tmp_path / "to" / files[0].path).write_bytes(b"damaged")
    (tmp_path / "to" / files[1].path).unlink()
    (tmp_path / "from" / files[3].path).unlink()
    written: list[str] = []
    original = target.write_all

    def noted(contents: Mapping[str, bytes]) -> dict[str, str]:
        written.extend(contents)
        return original(contents)

    monkeypatch.setattr(target, "write_all", noted)
    assert copy_files(source, target, files) == 1, "one is missing in the source"
    assert written == [files[0].path, files[1].path]
    assert target.read(files[0].path, files[0].sha256) == b"weights 0"
