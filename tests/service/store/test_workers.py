"""Which workers are live, when the database's clock jumps."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, update

from service.store import tables, workers
from service.store.engine import writing
from service.store.workers import NewBeat

TTL_S = 20.0


@pytest.mark.parametrize("age_s", [3600.0, -3600.0], ids=["clock forward", "clock back"])
def test_a_worker_that_died_before_a_jump_of_the_clock_is_silent(engine: Engine, age_s: float) -> None:
    for name in ("alive:cpu-0", "dead:cpu-0"):
        workers.beat(engine, NewBeat(name, 1, "cpu", "test", 1, None))
    with writing(engine) as connection:
        old = update(tables.workers).where(tables.workers.c.name == "dead:cpu-0")
        connection.execute(old.values(beat_at=tables.workers.c.beat_at - age_s))
    assert workers.silent(engine, ["alive:cpu-0", "dead:cpu-0"], TTL_S) == ["dead:cpu-0"]
    with engine.connect() as connection:
        assert workers.count_live(connection, TTL_S) == 1
        assert not workers.is_live(connection, "dead:cpu-0", TTL_S)
    assert [row.is_live(TTL_S) for row in workers.list_workers(engine)] == [True, False]
    workers.forget(engine, ["alive:cpu-0", "dead:cpu-0"], TTL_S)
    assert [row.name for row in workers.list_workers(engine)] == ["alive:cpu-0"]
