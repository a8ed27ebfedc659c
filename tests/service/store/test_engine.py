"""The database file, and what errors of a database mean."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from service.errors import DatabaseNotReady
from service.store.engine import open_engine
from service.store.migration import migrate, require_tables
from service.store.outages import cause_of, check_writing


def test_only_the_owner_can_read_a_new_database_file(tmp_path: Path) -> None:
    file = tmp_path / "home" / "fanin.sqlite"
    engine = open_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
        modes = [stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()]
    engine.dispose()
    assert len(modes) > 1, "the write-ahead log"
    assert set(modes) == {0o600}


def test_tables_of_a_newer_version_are_refused_by_name(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/fanin.sqlite")
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refuse in (migrate, require_tables):
        with pytest.raises(DatabaseNotReady, match=r"A newer Fanin .* 9999"):
            refuse(engine)
    engine.dispose()


def test_a_full_disk_is_noticed_by_writing_and_named(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/fanin.sqlite")
    migrate(engine)
    check_writing(engine)
    check_writing(engine)
    with engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(OperationalError) as caught:
            connection.execute(text("CREATE TABLE filler AS SELECT zeroblob(1000000)"))
    engine.dispose()
    assert "disk of the database is full" in cause_of(caught.value).detail


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("no such table: jobs", "tables of the database"),
        ("database or disk is full", "is full"),
        ("attempt to write a readonly database", "read-only"),
        ("disk I/O error", "disk of the database fails"),
        ("database disk image is malformed", "damaged"),
        ("could not connect to server at 10.0.0.7", "cannot be reached"),
    ],
)
def test_an_error_of_the_database_is_explained_without_its_address(said: str, meant: str) -> None:
    explained = cause_of(OperationalError("SELECT secret", {}, sqlite3.OperationalError(said)))
    assert meant in explained.detail
    assert "10.0.0.7" not in str(explained)
    assert "secret" not in str(explained)
