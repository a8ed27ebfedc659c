"""The queue: a run's id, delivered to some worker at least once. The only file that names the engine (DBOS).

The engine knows nothing of jobs; our rows hold all truth. A run is enqueued in the transaction that inserts its
rows, so that there is never one without the other. Arguments travel as JSON: nothing is unpickled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from service.store.engine import writing
from service.store.jobs import NewJob, insert_job

if TYPE_CHECKING:
    from dbos import DBOSClient
    from sqlalchemy import Engine

    from models.spec import TrainSpec

APPLICATION = "fanin"
QUEUE = "runs"
WORKFLOW = "run"
APPLICATION_VERSION = "1"  # never changed by a release: pending runs of another version would not be recovered
POLLING_INTERVAL_S = 0.2


class Queue:
    """The sending side of the queue, as API processes use it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()

    def submit(self, spec: TrainSpec, preset: str | None) -> NewJob:
        """Insert a job with its run and its queue entry, and commit: all three or none."""
        client = self._connected()
        with writing(self._engine) as connection:
            new = insert_job(connection, spec, preset)
            client.enqueue_in_transaction(
                connection,
                {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": new.run_id},
                new.run_id,
            )
        return new

    def _connected(self) -> DBOSClient:
        with self._lock:
            if self._client is None:
                self._client = _client(self._engine)
            return self._client


def migrate_queue(engine: Engine, url: str) -> None:
    """Create or upgrade the engine's own tables, and declare the queue of runs."""
    from dbos import DBOS

    _quiet()
    DBOS.migrate(system_database_url=url)
    client = _client(engine)
    client.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_INTERVAL_S)


def serve_runs(engine: Engine, url: str, executor_id: str, execute: Callable[[str], None]) -> None:
    """Start threads that take runs from the queue and call `execute(run_id)`, one at a time.

    A run that this executor had taken before its process died is delivered again, here and now. `executor_id`
    must be held by one living process at a time.
    """
    from dbos import DBOS, DBOSPortableJSONSerializer

    _quiet()
    DBOS(
        config={
            "name": APPLICATION,
            "application_version": APPLICATION_VERSION,
            "executor_id": executor_id,
            "system_database_url": url,
            "system_database_engine": engine,
            "run_migrations": False,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "WARNING",
            "enable_otlp": False,
        }
    )

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
    def run(run_id: str) -> None:
        execute(run_id)

    DBOS.listen_queues([QUEUE])
    DBOS.launch()


def _client(engine: Engine) -> DBOSClient:
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    return DBOSClient(
        system_database_engine=engine, serializer=DBOSPortableJSONSerializer(), application_name=APPLICATION
    )


def _quiet() -> None:
    logging.getLogger("dbos").setLevel(logging.WARNING)
