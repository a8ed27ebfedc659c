"""The queue engine (DBOS): its client, its tables, its old entries."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbos import DBOSClient
    from sqlalchemy import Connection, Engine

    from service.store.jobs import DeviceChoice, QueueEntry

    Client = DBOSClient

APPLICATION = "fanin"
QUEUES: dict[DeviceChoice, str] = {"any": "runs", "cpu": "runs-cpu", "gpu": "runs-gpu"}
"""The engine's queue of the runs that ask for a kind of device; a worker takes runs from two."""
WORKFLOW = "run"
APPLICATION_VERSION = "1"  # never changed by a release: pending runs of another version would not be recovered
POLLING_INTERVAL_S = 0.1
RARE_POLLING_INTERVAL_S = 0.3
ENTRIES_KEPT_S = 3600.0
ENTRIES_AT_ONCE = 500


def migrate_queue(engine: Engine, url: str) -> None:
    """Create or upgrade the engine's own tables, and declare the queues of runs."""
    from dbos import DBOS

    quiet()
    DBOS.migrate(system_database_url=url)
    client = client_of(engine)
    for device, name in QUEUES.items():
        interval_s = POLLING_INTERVAL_S if device == "any" else RARE_POLLING_INTERVAL_S
        client.register_queue(name, worker_concurrency=1, polling_interval_sec=interval_s)


def forget_ended(engine: Engine) -> int:
    """Delete the engine's entries of runs that ended more than `ENTRIES_KEPT_S` ago; return how many there were.

    Nothing reads them: the service's own rows say how a run ended.
    """
    client, count = client_of(engine), 0
    until = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ENTRIES_KEPT_S)
    while True:
        ended = client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            name=WORKFLOW,
            completed_before=until.isoformat(),
            limit=ENTRIES_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        client.delete_workflows([workflow.workflow_id for workflow in ended])
        count += len(ended)
        if len(ended) < ENTRIES_AT_ONCE:
            return count


def client_of(engine: Engine) -> Client:
    """Return the client that enqueues and lists runs."""
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    return DBOSClient(
        system_database_engine=engine, serializer=DBOSPortableJSONSerializer(), application_name=APPLICATION
    )


def enqueue(client: Client, connection: Connection, run_id: str, entry: QueueEntry) -> None:
    """Enqueue a run in the transaction of `connection`: the entry exists exactly if the run's row does."""
    client.enqueue_in_transaction(
        connection,
        {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUES[entry.device],
            "workflow_id": run_id,
            "priority": entry.priority,
        },
        run_id,
    )


def quiet() -> None:
    """Let the engine log only warnings and errors."""
    logging.getLogger("dbos").setLevel(logging.WARNING)
