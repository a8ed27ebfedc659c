"""The receiving side of the queue: the runs that a worker process takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from service.queue.engine import APPLICATION, APPLICATION_VERSION, QUEUE, WORKFLOW, quiet

if TYPE_CHECKING:
    from sqlalchemy import Engine

FIRST_LOOK_AFTER_S = 0.02
UNUSED_INTERVAL_S = 60.0
"""Polling interval of the engine's messages between workflows, which Fanin does not use."""


class Deliveries:
    """The receiving side of the queue: takes runs for one worker process, and requeues runs of dead workers.

    Only one live process at a time may use an `executor_id`.
    """

    def __init__(self, engine: Engine, url: str, executor_id: str, execute: Callable[[str], None]) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        quiet()
        self._executor_id = executor_id
        self._idle = threading.Event()
        self._idle.set()
        self._dbos = DBOS(
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
                "notification_listener_polling_interval_sec": UNUSED_INTERVAL_S,
            }
        )

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        def run(run_id: str) -> None:
            self._idle.clear()
            try:
                execute(run_id)
            finally:
                self._idle.set()

    def start(self) -> None:
        """Start threads that take runs from the queue and call `execute(run_id)`, one at a time.

        A run that this executor had taken before its process died is delivered again, to this or another worker.
        """
        from dbos import DBOS

        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        self._look_only_when_idle()

    def _look_only_when_idle(self) -> None:
        """Block the engine's polling thread while a run is executed; it would query the queue ten times a second.

        A query takes 1.3 ms of a core and delays all threads that share a training step. The first query after a run
        comes early, as soon as the engine has recorded the end of the run.
        """
        database = self._dbos._sys_db  # noqa: SLF001 - as below
        look_up = database.get_queue  # that thread calls it before each query; nothing else in a worker does

        def when_idle(name: str) -> Any:
            was_idle = self._idle.is_set()
            self._idle.wait()
            queue = look_up(name)
            if queue is not None and not was_idle:
                queue._polling_interval_sec = FIRST_LOOK_AFTER_S  # noqa: SLF001 - as below
            return queue

        database.get_queue = when_idle  # type: ignore[method-assign,assignment]

    def taken(self) -> dict[str, str]:
        """Return the runs that some worker has taken and not ended, each with that worker's name."""
        from dbos import DBOS

        workflows = DBOS.list_workflows(status="PENDING", name=WORKFLOW, load_input=False, load_output=False)
        return {workflow.workflow_id: workflow.executor_id or "" for workflow in workflows}

    def hand_on(self, workers: Collection[str]) -> None:
        """Requeue the runs that these workers had taken. Runs that another worker has taken since stay with it."""
        from dbos import DBOS

        # The engine's open-source version recovers other executors only by this private call; its version is pinned.
        DBOS._recover_pending_workflows(sorted(workers))  # noqa: SLF001

    def hand_back(self, run_id: str) -> None:
        """Requeue a run that this worker has taken; the outcome of this process's execution is then ignored."""
        self._dbos._sys_db.reenqueue_for_recovery(run_id, [self._executor_id], QUEUE)  # noqa: SLF001 - as above
