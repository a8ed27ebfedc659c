"""A name belongs to one living worker: replicas, restarts and frozen processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import Engine

from benchmarks.machines import wait_until
from service.errors import NameTaken
from service.store import workers
from service.store.workers import NewBeat
from service.training.heartbeat import Heartbeat
from service.training.worker_name import WorkerName

TTL_S = 0.6
BLANK = NewBeat("", 1, "cpu", "test", 1, None)


def named(engine: Engine, folder: Path, ttl_s: float = TTL_S, node: str = "node") -> WorkerName:
    return WorkerName(engine, folder, node, "cpu-0", ttl_s)


def claimed(name: WorkerName, *, is_chosen: bool = True) -> float:
    """Claim a name and return how many seconds that took."""
    started = time.monotonic()
    name.claim(lambda: BLANK, is_chosen=is_chosen)
    return time.monotonic() - started


@contextmanager
def living(engine: Engine, instance: str, *, leaving: bool = False) -> Iterator[None]:
    """A worker of the name that beats, in another folder or on another machine."""
    stop = threading.Event()
    new = NewBeat("node:cpu-0", 2, "cpu", "test", 1, None, instance, leaving)
    workers.beat(engine, new)

    def beat() -> None:
        with suppress(workers.NameLost):
            while not stop.wait(TTL_S / 8):
                workers.beat(engine, new)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_new_name_is_taken_at_once(engine: Engine, tmp_path: Path) -> None:
    name = named(engine, tmp_path, ttl_s=100.0)
    assert claimed(name) < 10
    row = workers.find(engine, "node:cpu-0")
    assert row is not None
    assert row.instance == name.instance


def test_the_name_of_a_dead_process_of_this_machine_is_taken_at_once(engine: Engine, tmp_path: Path) -> None:
    first = named(engine, tmp_path, ttl_s=100.0)
    claimed(first)
    dead = first.instance
    del first  # its lock is free, its heartbeat is young
    second = named(engine, tmp_path, ttl_s=100.0)
    assert claimed(second) < 10
    row = workers.find(engine, "node:cpu-0")
    assert row is not None
    assert row.instance == second.instance != dead


def test_a_replica_with_a_chosen_name_is_refused(engine: Engine, tmp_path: Path) -> None:
    with living(engine, "other"), pytest.raises(NameTaken, match="in use by another process"):
        claimed(named(engine, tmp_path))


def test_a_replica_whose_name_nobody_chose_gets_a_name_of_its_own(engine: Engine, tmp_path: Path) -> None:
    with living(engine, "other"):
        replica = named(engine, tmp_path)
        claimed(replica, is_chosen=False)
        assert replica.name != "node:cpu-0"
        assert replica.name.startswith("node-")
        assert {row.instance for row in workers.list_workers(engine)} == {"other", replica.instance}


def test_a_silent_instance_of_another_machine_is_watched_before_its_name_is_taken(
    engine: Engine, tmp_path: Path
) -> None:
    workers.beat(engine, NewBeat("node:cpu-0", 2, "cpu", "test", 1, None, "silent"))
    assert 2 * TTL_S / 4 < claimed(named(engine, tmp_path)) < 10


def test_a_process_that_is_leaving_is_waited_for(engine: Engine, tmp_path: Path) -> None:
    first = named(engine, tmp_path)
    claimed(first)
    second, taken = named(engine, tmp_path), threading.Event()

    def take() -> None:
        claimed(second)
        taken.set()

    with living(engine, first.instance, leaving=True):
        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(2 * TTL_S)
        del first  # it has ended
        assert taken.wait(10)
    thread.join()


def test_the_name_of_a_frozen_process_is_taken_after_a_lifetime_and_the_frozen_one_ends(
    engine: Engine, tmp_path: Path
) -> None:
    frozen = named(engine, tmp_path)
    claimed(frozen)
    assert TTL_S / 2 < claimed(named(engine, tmp_path)) < 10
    ended = threading.Event()
    mine = NewBeat("node:cpu-0", 1, "cpu", "test", 1, None, frozen.instance)
    thawed = Heartbeat(engine, TTL_S, lambda: mine, ended.set)
    thawed.start()
    wait_until(ended.is_set, what="the thawed process to end")
    thawed._stop.set()


def test_the_holder_of_a_lock_that_never_begins_to_beat_is_passed_after_a_lifetime(
    engine: Engine, tmp_path: Path
) -> None:
    hung = FileLock(tmp_path / "node-cpu-0.lock")
    hung.acquire()
    assert claimed(named(engine, tmp_path)) >= TTL_S
    hung.release()
