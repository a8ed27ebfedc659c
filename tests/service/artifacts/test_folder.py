from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from models.errors import CheckpointDamaged
from service.artifacts.folder import Folder
from service.errors import Unavailable


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    artifacts = Folder(tmp_path)
    digest = artifacts.write("a/b/c.bin", b"content")
    assert digest == hashlib.sha256(b"content").hexdigest()
    assert artifacts.read("a/b/c.bin", digest) == b"content"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.bin"]


def test_a_file_is_never_changed(tmp_path: Path) -> None:
    artifacts = Folder(tmp_path)
    artifacts.write("x", b"first")
    with pytest.raises(FileExistsError):
        artifacts.write("x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        Folder(tmp_path).write("x", b"content")
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_together_each_with_its_own_hash(tmp_path: Path) -> None:
    artifacts = Folder(tmp_path)
    contents = {"a/x": b"first", "a/y": b"second", "b/z": b""}
    digests = artifacts.write_all(contents)
    assert digests == {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    assert artifacts.list_below("") == sorted(contents)
    assert all(artifacts.read(path, digests[path]) == content for path, content in contents.items())


def test_of_files_that_are_written_together_none_is_there_if_the_disk_refuses_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = os.fsync, 0

    def second_fails(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        original(descriptor)

    monkeypatch.setattr("os.fsync", second_fails)
    with pytest.raises(OSError, match="No space"):
        Folder(tmp_path).write_all({"x": b"first", "y": b"second"})
    assert list(tmp_path.iterdir()) == []


def test_damage_and_absence_are_seen(tmp_path: Path) -> None:
    artifacts = Folder(tmp_path)
    digest = artifacts.write("x", b"content")
    (tmp_path / "x").write_bytes(b"Content")
    with pytest.raises(CheckpointDamaged, match="damaged"):
        artifacts.read("x", digest)
    artifacts.delete("x")
    artifacts.delete("x")
    with pytest.raises(CheckpointDamaged, match="is missing"):
        artifacts.read("x", digest)


def test_what_cannot_be_read_for_now_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = Folder(tmp_path / "root")
    with pytest.raises(Unavailable, match="mounted"):
        artifacts.read("x", "")
    digest = artifacts.write("x", b"content")

    def too_many_open(_path: Path) -> bytes:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", too_many_open)
    with pytest.raises(Unavailable, match="Too many open files"):
        artifacts.read("x", digest)
