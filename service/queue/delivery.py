"""The receiving side of the queue: the runs that a worker process takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from service.queue.engine import (
    APPLICATION,
    APPLICATION_VERSION,
    ENTRIES_AT_ONCE,
    QUEUES,
    WORKFLOW,
    quiet,
)
from service.queue.turns import Turns

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from service.store.jobs import DeviceChoice

UNUSED_INTERVAL_S = 60.0
"""Polling interval of the engine's messages between workflows, which Fanin does not use."""


class Deliveries:
    """The receiving side of the queue: takes runs for one worker process, and requeues runs of dead workers.

    The runs are those that ask for `device` (cpu or gpu), and those that ask for any. Only one live process at a time
    may use an `executor_id`.
    """

    def __init__(
        self, engine: Engine, url: str, executor_id: str, execute: Callable[[str], None], device: DeviceChoice = "cpu"
    ) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        quiet()
        self._executor_id = executor_id
        self._queues = [QUEUES["any"], QUEUES[device]]
        self._turns = Turns()
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
            with self._turns.of(run_id) as is_alone:
                if is_alone:
                    execute(run_id)
                else:  # claimed in the moment between the start of the engine's threads and the limit of `start`
                    self.hand_back(run_id)

    def start(self) -> None:
        """Start threads that take runs from the queue and call `execute(run_id)`, one at a time.

        A run that this executor had taken before its process died is delivered again, to this or another worker.
        """
        from dbos import DBOS

        DBOS.listen_queues(self._queues)
        DBOS.launch()
        # The engine limits what a worker takes from one queue. Its threads, one a queue, claim by this private call,
        # and first wait for a polling interval.
        entries: Any = self._dbos._sys_db  # noqa: SLF001
        entries.start_queued_workflows = self._turns.limiting(entries.start_queued_workflows, self._queues)

    def taken(self) -> dict[str, str]:
        """Return the runs that some worker has taken and not ended, each with that worker's name."""
        from dbos import DBOS

        workflows = DBOS.list_workflows(status="PENDING", name=WORKFLOW, load_input=False, load_output=False)
        return {workflow.workflow_id: workflow.executor_id or "" for workflow in workflows}

    def drop(self, without_work: Callable[[list[str]], Collection[str]]) -> int:
        """Take those runs out of the queue that `without_work` returns of a list of runs; return how many there were.

        The engine takes one entry a polling interval, so thousands of runs whose jobs were deleted, paused or moved to
        another run would keep a worker from the others for minutes.
        """
        from dbos import DBOS

        dropped = kept = 0
        while True:
            queued = DBOS.list_workflows(
                status="ENQUEUED",
                name=WORKFLOW,
                limit=ENTRIES_AT_ONCE,
                offset=kept,
                load_input=False,
                load_output=False,
            )
            idle = without_work([workflow.workflow_id for workflow in queued])
            DBOS.cancel_workflows(list(idle))
            dropped, kept = dropped + len(idle), kept + len(queued) - len(idle)
            if len(queued) < ENTRIES_AT_ONCE:
                return dropped

    def hand_on(self, workers: Collection[str]) -> None:
        """Requeue the runs that these workers had taken. Runs that another worker has taken since stay with it."""
        from dbos import DBOS

        # The engine's open-source version recovers other executors only by this private call; its version is pinned.
        DBOS._recover_pending_workflows(sorted(workers))  # noqa: SLF001

    def hand_back(self, run_id: str) -> None:
        """Requeue a run that this worker has taken; the outcome of this process's execution is then ignored."""
        self._dbos._sys_db.reenqueue_for_recovery(run_id, [self._executor_id], QUEUES["any"])  # noqa: SLF001 - as above
