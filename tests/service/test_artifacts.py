from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.errors import CheckpointDamaged
from service.artifacts import Artifacts
from service.errors import Unavailable


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    digest = artifacts.write("a/b/c.bin", b"content")
    assert digest == hashlib.sha256(b"content").hexdigest()
    assert artifacts.read("a/b/c.bin", digest) == b"content"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.bin"]


def test_a_file_is_never_changed(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    artifacts.write("x", b"first")
    with pytest.raises(FileExistsError):
        artifacts.write("x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        Artifacts(tmp_path).write("x", b"content")
    assert list(tmp_path.iterdir()) == []


def test_damage_and_absence_are_seen(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    digest = artifacts.write("x", b"content")
    (tmp_path / "x").write_bytes(b"Content")
    with pytest.raises(CheckpointDamaged, match="damaged"):
        artifacts.read("x", digest)
    artifacts.delete("x")
    artifacts.delete("x")
    with pytest.raises(CheckpointDamaged, match="not there"):
        artifacts.read("x", digest)


def test_what_cannot_be_read_for_now_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = Artifacts(tmp_path / "root")
    with pytest.raises(Unavailable, match="mounted"):
        artifacts.read("x", "")
    digest = artifacts.write("x", b"content")

    def too_many_open(_path: Path) -> bytes:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", too_many_open)
    with pytest.raises(Unavailable, match="Too many open files"):
        artifacts.read("x", digest)
