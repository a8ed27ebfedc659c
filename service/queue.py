"""The queue: a run's id, delivered to some worker at least once. The only file that names the engine (DBOS).

The engine knows nothing of jobs; our rows hold all truth. A run is enqueued in the transaction that inserts its
rows, so that there is never one without the other. Arguments travel as JSON: nothing is unpickled.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from service.errors import QueueFull
from service.store.engine import writing
from service.store.experiments import insert_experiment
from service.store.idempotency import claim, keep_answer
from service.store.jobs import PRIORITIES, JobRow, NewJob, Priority, insert_job, insert_run
from service.store.outlook import queued_count
from service.store.transitions import Wish, ask
from service.store.workers import some_gpu_is_live

if TYPE_CHECKING:
    from dbos import DBOSClient
    from sqlalchemy import Connection, Engine

    from models.spec import TrainSpec

APPLICATION = "fanin"
QUEUE = "runs"
WORKFLOW = "run"
APPLICATION_VERSION = "1"  # never changed by a release: pending runs of another version would not be recovered
POLLING_INTERVAL_S = 0.1
FIRST_LOOK_AFTER_S = 0.02
UNUSED_INTERVAL_S = 60.0
"""For what the engine does all the time and nobody here needs: its messages between workflows."""
RUN_MEMORY_BYTES = 4 * 2**30
"""What the jobs of a run may need together; who divides an experiment does not know which GPU will train it, and 6 GiB
are little for one. A single job may need more."""
ENTRIES_KEPT_S = 3600.0
ENTRIES_AT_ONCE = 500

Answer = Callable[["Connection", str], dict[str, Any]]
"""Makes the answer to the submission of the job or experiment of this id, from its transaction."""


class Once(NamedTuple):
    """A key under which a submission is carried out once, what stands for its content, and how it is answered."""

    key: str
    fingerprint: str
    answer: Answer


class Submitted(NamedTuple):
    """A new job, or None if its key had been used before; and the answer that is kept under the key, if it had one."""

    new: NewJob | None
    answer: dict[str, Any] | None


class Queue:
    """The sending side of the queue, as API processes use it."""

    def __init__(self, engine: Engine, most_queued: int, worker_ttl_s: float, jobs_per_run: int) -> None:
        self._engine = engine
        self._most_queued = most_queued
        self._worker_ttl_s = worker_ttl_s
        self._jobs_per_run = jobs_per_run
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()

    def submit(
        self, spec: TrainSpec, preset: str | None, priority: Priority = "normal", once: Once | None = None
    ) -> Submitted:
        """Insert a job with its run and its queue entry, and commit: all three or none.

        Raises `QueueFull`, and `KeyReused` if the key of `once` was used for another request.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            if once is not None:
                before = claim(connection, once.key, once.fingerprint)
                if before is not None:
                    return Submitted(None, before)
            new = insert_job(connection, spec, preset, priority)
            self._enqueue(client, connection, new.run_id, PRIORITIES[priority])
            self._check_room(connection)
            if once is None:
                return Submitted(new, None)
            answer = once.answer(connection, new.job_id)
            keep_answer(connection, once.key, answer)
        return Submitted(new, answer)

    def submit_experiment(
        self, specs: Sequence[TrainSpec], recipe: str | None, request: dict[str, Any], once: Once | None = None
    ) -> tuple[str | None, dict[str, Any] | None]:
        """Insert an experiment with its members, their runs and queue entries, and commit: all or none.

        While a worker with a GPU lives, members that can be trained side by side come into one run, up to the limit.
        Return its id, or None and the answer given before, if the key of `once` was used. Raises as `submit` does.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            if once is not None:
                before = claim(connection, once.key, once.fingerprint)
                if before is not None:
                    return None, before
            experiment_id = insert_experiment(connection, recipe, request, len(specs))
            at_once = self._jobs_per_run if some_gpu_is_live(connection, self._worker_ttl_s) else 1
            runs = divided(specs, at_once)
            run_ids = [insert_run(connection) for _ in range(max(runs) + 1)]
            for spec, run in zip(specs, runs, strict=True):
                insert_job(connection, spec, None, experiment_id=experiment_id, run_id=run_ids[run])
            for run_id in run_ids:
                self._enqueue(client, connection, run_id, PRIORITIES["normal"])
            self._check_room(connection)
            if once is not None:
                keep_answer(connection, once.key, once.answer(connection, experiment_id))
        return experiment_id, None

    def _check_room(self, connection: Connection) -> None:
        """Raise `QueueFull` if what was inserted in this transaction is too much.

        It holds the counter of events by now, so that submissions at once cannot pass the limit together.
        """
        if queued_count(connection) > self._most_queued:
            raise QueueFull(
                f"At most {self._most_queued} jobs may be queued (FANIN_MAX_QUEUED), and these would be more.",
                "Try again when some have ended.",
            )

    def ask(self, job_id: str, wish: Wish) -> JobRow:
        """Cancel, pause, resume or retry a job, and enqueue what must run again, in one transaction.

        Raises `IllegalTransition`, `NotFound`.
        """
        client = self._connected()
        with writing(self._engine) as connection:
            job, run_id = ask(connection, job_id, wish, self._worker_ttl_s)
            if run_id is not None:
                self._enqueue(client, connection, run_id, job.priority)
        return job

    def _enqueue(self, client: DBOSClient, connection: Connection, run_id: str, priority: int) -> None:
        client.enqueue_in_transaction(
            connection,
            {"workflow_name": WORKFLOW, "queue_name": QUEUE, "workflow_id": run_id, "priority": priority},
            run_id,
        )

    def _connected(self) -> DBOSClient:
        with self._lock:
            if self._client is None:
                self._client = _client(self._engine)
            return self._client


def divided(specs: Sequence[TrainSpec], jobs_per_run: int) -> list[int]:
    """Return the number of the run that each spec comes into, from 0.

    A run has at most `jobs_per_run` specs, and no more than fit into `RUN_MEMORY_BYTES`, all alike but for scheme and
    seed. Pre-training is not done side by side, so that a spec which pre-trains has a run of its own.
    """
    open_runs: dict[str, tuple[int, int]] = {}
    found, count = [], 0
    for spec in specs:
        kind = spec.shared_part.model_dump_json()
        run, room = open_runs.get(kind, (0, 0))
        if room == 0 or spec.pretrains:
            fitting = max(1, RUN_MEMORY_BYTES // spec.memory_bytes)
            run, room, count = count, min(jobs_per_run, fitting), count + 1
        if not spec.pretrains:
            open_runs[kind] = (run, room - 1)
        found.append(run)
    return found


class Deliveries:
    """The receiving side of the queue: the runs that one worker process takes, and those that others left behind.

    `executor_id` must be held by one living process at a time.
    """

    def __init__(self, engine: Engine, url: str, executor_id: str, execute: Callable[[str], None]) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer

        _quiet()
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

        A run that this executor had taken before its process died is delivered again, here or elsewhere.
        """
        from dbos import DBOS

        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        self._look_only_when_idle()

    def _look_only_when_idle(self) -> None:
        """Let the engine's thread wait while a run is executed: it would look for another one ten times a second.

        A look takes 1.3 ms of a core, and holds all threads of a training up that share one step. The first one after
        a run comes soon, as soon as the engine has noted that the run is over.
        """
        database = self._dbos._sys_db  # noqa: SLF001 - as below
        look_up = database.get_queue  # what that thread calls before each look, and nobody else in a worker

        def when_idle(name: str) -> Any:
            was_idle = self._idle.is_set()
            self._idle.wait()
            found = look_up(name)
            if found is not None and not was_idle:
                found._polling_interval_sec = FIRST_LOOK_AFTER_S  # noqa: SLF001 - as below
            return found

        database.get_queue = when_idle  # type: ignore[method-assign,assignment]

    def taken(self) -> dict[str, str]:
        """Return the runs that some worker has taken and not ended, each with that worker's name."""
        from dbos import DBOS

        found = DBOS.list_workflows(status="PENDING", name=WORKFLOW, load_input=False, load_output=False)
        return {one.workflow_id: one.executor_id or "" for one in found}

    def hand_on(self, workers: Collection[str]) -> None:
        """Put what these workers had taken back into the queue. What somebody else has taken by then stays there."""
        from dbos import DBOS

        # The engine's open-source version recovers other executors only by this private call; its version is pinned.
        DBOS._recover_pending_workflows(sorted(workers))  # noqa: SLF001

    def hand_back(self, run_id: str) -> None:
        """Put a run that this worker has taken back into the queue; what this process still does with it is void."""
        self._dbos._sys_db.reenqueue_for_recovery(run_id, [self._executor_id], QUEUE)  # noqa: SLF001 - as above


def migrate_queue(engine: Engine, url: str) -> None:
    """Create or upgrade the engine's own tables, and declare the queue of runs."""
    from dbos import DBOS

    _quiet()
    DBOS.migrate(system_database_url=url)
    client = _client(engine)
    client.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=POLLING_INTERVAL_S)


def forget_ended(engine: Engine) -> int:
    """Delete the engine's entries of runs that ended more than `ENTRIES_KEPT_S` ago; return how many there were.

    Nobody reads them: our own rows say what became of a run.
    """
    client, count = _client(engine), 0
    until = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ENTRIES_KEPT_S)
    while True:
        ended = client.list_workflows(
            status=["SUCCESS", "ERROR"],
            name=WORKFLOW,
            completed_before=until.isoformat(),
            limit=ENTRIES_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        client.delete_workflows([one.workflow_id for one in ended])
        count += len(ended)
        if len(ended) < ENTRIES_AT_ONCE:
            return count


def _client(engine: Engine) -> DBOSClient:
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    return DBOSClient(
        system_database_engine=engine, serializer=DBOSPortableJSONSerializer(), application_name=APPLICATION
    )


def _quiet() -> None:
    logging.getLogger("dbos").setLevel(logging.WARNING)
