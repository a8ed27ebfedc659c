"""The worker process: owns one device slot, takes runs from the queue, and trains them one after another."""

from __future__ import annotations

import gc
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from models.data.mnist import DataSet, Digits, load
from models.errors import FaninError
from models.spec import PRESETS, TrainSpec
from models.training.engine import TRITON, best_engine
from models.training.train import Training
from models.training.triton.availability import note_failure
from models.training.triton.plan import MANY
from models.vocabulary import DataChoice
from service.artifacts.opening import ENDLESS, open_artifacts
from service.artifacts.store import require_writable
from service.errors import Unavailable
from service.processes.supervisor import EXIT_TRY_AGAIN
from service.processes.worker_environment import prepare_interpreter
from service.queue.delivery import Deliveries
from service.queue.engine import POLLING_INTERVAL_S, forget_ended
from service.settings import Settings
from service.store.engine import open_engine
from service.store.outages import check_connection, retry_while_unreachable, wait_for_tables
from service.store.retention import Retention
from service.store.runs import without_work
from service.store.workers import NewBeat
from service.training.attempt_policy import RETRYABLE_ERRORS, LacksData, make_attempt
from service.training.cleanup import Sweep
from service.training.context import Drained, WorkerContext
from service.training.devices import device_of
from service.training.heartbeat import Heartbeat
from service.training.worker_name import WorkerName, starting

log = logging.getLogger(__name__)

FALLBACK_LIFETIME_S = 600.0
DRAIN_LIMIT_S = 10.0
HAND_BACK_PAUSE_S = 5 * POLLING_INTERVAL_S


class WorkerLimits(NamedTuple):
    """When a worker is done: after so long without a run, after so many runs; None: never."""

    idle_s: float | None = None
    runs: int | None = None


class Worker:
    """One device slot of this machine; `slot` is a name such as `cpu-0` or `cuda-1`.

    Raises `GpuUnusable` rather than train on the CPU, where a job meant for a GPU may take an hour.
    """

    def __init__(self, settings: Settings, slot: str, threads: int, limits: WorkerLimits | None = None) -> None:
        self._limits = limits or WorkerLimits()
        self._runs_made = 0
        self._settings = settings
        self._slot = slot
        self._is_working = False
        self._device = device_of(slot, threads)
        self._run_id: str | None = None
        self._draining = False
        self._artifacts = open_artifacts(settings.artifacts_place, ENDLESS)
        self._data: dict[DataChoice, tuple[DataSet, float]] = {}
        self._inbox: queue.SimpleQueue[tuple[str, threading.Event]] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. A run in progress continues later from its last checkpoint, on any worker.

        Waits for ever for the database and for its tables. Raises `NameTaken` if another living process has this
        worker's name, `Unavailable` if checkpoints cannot be written, and `DatabaseTooNew`.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._end)
        settings = self._settings
        engine = open_engine(settings.sqlalchemy_url)
        with starting(settings.home / "slots", self._slot):
            wait_for_tables(engine)
            require_writable(self._artifacts)
        self._name = WorkerName(engine, settings.home / "slots", settings.node, self._slot, settings.worker_ttl_s)
        self._heartbeat = Heartbeat(engine, settings.worker_ttl_s, self._beat, lambda: os._exit(EXIT_TRY_AGAIN))
        retry_while_unreachable(lambda: self._name.claim(self._beat, is_chosen="node" in settings.model_fields_set))
        self._heartbeat.start()
        torch.set_num_threads(self._device.threads)
        prepare_interpreter()
        started = time.monotonic()
        self._warm_up()
        name, url, kind = self._name.name, settings.sqlalchemy_url, self._device.kind_asked_for
        self._deliveries = Deliveries(engine, url, name, self._hand_to_main_thread, kind)
        self._is_working = True
        self._deliveries.start()
        self._heartbeat.deliveries = self._deliveries
        retention = Retention(settings.retain_days, settings.retain_jobs, settings.retain_bytes)
        Sweep(engine, self._artifacts, settings.checkpoints_kept, forget_ended, retention).start()
        # Objects loaded so far stay alive: a garbage collection that scans them would delay training by 80 ms.
        gc.collect()
        gc.freeze()
        device, seconds = self._device, time.monotonic() - started
        log.info("worker %s is ready on %s (%s) after %.1f s of warming up", name, device.kind, device.name, seconds)
        try:
            self._work(engine)
        except BaseException:
            # The queue's threads would keep a process without a main thread alive, and its runs taken.
            log.exception("this worker restarts")
            os._exit(EXIT_TRY_AGAIN)

    def _leave_if_idle(self, engine: Engine) -> None:
        """End the process, because no run has come for `idle_s`: but not if the database could not give one."""
        try:
            check_connection(engine)
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("no run has come, and the database is away: %s", error)
            return
        log.info("no run for %g s", self._limits.idle_s)
        self._leave(None)

    def _hand_to_main_thread(self, run_id: str) -> None:
        done = threading.Event()
        self._inbox.put((run_id, done))
        done.wait()

    def _work(self, engine: Engine) -> None:
        context = WorkerContext(
            engine=engine,
            artifacts=self._artifacts,
            worker=self._name.name,
            device=self._device,
            load_data=self._load,
            draining=lambda: self._draining,
            end_process=lambda: os._exit(EXIT_TRY_AGAIN),
            stall_limit_s=self._settings.stall_limit_s,
            checkpoints_kept=self._settings.checkpoints_kept,
        )
        while True:
            # All training happens in this one thread: every thread that trains gets its own OpenMP team. With more
            # threads than cores the teams stop spinning at barriers, which doubled the time of an epoch.
            try:
                run_id, done = self._inbox.get(timeout=self._limits.idle_s)
            except queue.Empty:
                self._leave_if_idle(engine)
                continue
            self._run_id = run_id
            if not self._draining:
                self._make_attempt(context, run_id)
            if self._draining:
                self._leave(run_id or None)
            self._run_id = None
            done.set()
            if self._runs_made == self._limits.runs:
                log.info("%d runs are done", self._runs_made)
                self._leave(None)

    def _make_attempt(self, context: WorkerContext, run_id: str) -> None:
        # Crash-only: a run that did not end stays marked as taken and is requeued later. So this process ends without
        # unwinding its threads. Any moment is safe, because files are written before rows.
        try:
            if make_attempt(context, run_id):
                self._runs_made += 1
            else:
                self._drop_runs_without_work(context.engine)
        except Drained:
            self._leave(run_id)
        except LacksData as error:
            log.warning("%s goes to another worker: %s", run_id, error)
            self._deliveries.hand_back(run_id)
            time.sleep(HAND_BACK_PAUSE_S)  # takes nothing meanwhile, so that another idle worker gets the run
        except RETRYABLE_ERRORS:
            log.exception("this worker restarts")
            os._exit(EXIT_TRY_AGAIN)

    def _drop_runs_without_work(self, engine: Engine) -> None:
        """Drop the queue's entries of runs without work: where one is, there may be thousands."""
        dropped = self._deliveries.drop(partial(without_work, engine))
        if dropped:
            log.info("%d more runs without work have left the queue", dropped)

    def _leave(self, run_id: str | None) -> None:
        """End the process cleanly: requeue its run and delete its heartbeat."""
        log.info("worker %s stops", self._name.name)
        try:
            self._draining = True
            self._heartbeat.stop()
            mine = [run for run, worker in self._deliveries.taken().items() if worker == self._name.name]
            for taken in {*mine, *([] if run_id is None else [run_id])}:
                self._deliveries.hand_back(taken)  # one may have been delivered at this moment
        finally:
            os._exit(0)

    def _end(self, number: int, *_frame: object) -> None:
        """Stop at once if nothing is in progress, else between two steps or at the end of the epoch.

        Heartbeats say meanwhile that this process is leaving, so that a new one waits for its name. A second signal, or
        the alarm after `DRAIN_LIMIT_S`, ends the process immediately. Writes no log line, since the signal may have
        interrupted one.
        """
        if number == signal.SIGALRM or self._draining or not self._is_working:
            os._exit(0)
        self._draining = True
        signal.setitimer(signal.ITIMER_REAL, DRAIN_LIMIT_S)
        if self._run_id is None:
            self._inbox.put(("", threading.Event()))  # wakes the main thread, which then leaves

    def _beat(self) -> NewBeat:
        return NewBeat(
            name=self._name.name,
            process_id=os.getpid(),
            device_kind=self._device.kind,
            device_name=self._device.name,
            threads=self._device.threads,
            run_id=self._run_id,
            instance=self._name.instance,
            leaving=self._draining,
            gpu_memory_bytes=self._device.held_memory_bytes,
        )

    def _warm_up(self) -> None:
        """Run what the first job needs, on MNIST if it is present, so that the first job is as quick as later ones.

        This loads code, starts threads, gets memory from the system, and captures a GPU's graph once.
        """
        digits = Digits(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
        blank = DataSet("mnist_5k", digits, digits, "mnist_5k_held_out", sha256="", description="one blank image")
        self._try_engine(lambda: Training([TrainSpec()], blank, self._device.torch_device).run_epoch())
        try:
            mnist = load("mnist", self._settings.data_dir, fetch=False)
        except FaninError as error:
            log.info("no data set is loaded yet: %s", error.detail)
            return
        self._data["mnist"] = (mnist, float("inf"))
        training = Training([TrainSpec()], mnist, self._device.torch_device)
        training.snapshot(0)
        training.diagnose(0)
        training.evaluate(0)
        if training.engine == TRITON:  # compiles the kernels of these networks, and of many side by side
            for specs in ([PRESETS["mnist_nn_deep"]], [PRESETS["mnist_nn_xavier"]] * MANY):
                self._compile_ahead(specs, mnist)

    def _compile_ahead(self, specs: Sequence[TrainSpec], data: DataSet) -> None:
        """Compile what these specs need. If that is impossible here, their jobs fail with the reason, and only they."""
        try:
            Training(specs, data, self._device.torch_device)
        except torch.AcceleratorError:
            raise  # every later call in this process would fail too
        except Exception:
            log.warning("the kernels of %s cannot be compiled", specs[0].architecture.hidden, exc_info=True)

    def _try_engine(self, train: Callable[[], object]) -> None:
        """Train a little. If the kernels in Triton cannot be compiled here, log why and use the step in torch."""
        try:
            train()
        except torch.AcceleratorError:
            raise  # every later call in this process would fail too
        except Exception as error:
            if best_engine(TrainSpec(), self._device.torch_device) != TRITON:
                raise
            note_failure(f"its kernels failed when this worker started: {type(error).__name__}: {error}")
            log.warning("the engine %s cannot be used, the step in torch is", TRITON, exc_info=True)
            train()

    def _load(self, choice: DataChoice) -> DataSet:
        """Return a data set and cache it in memory; a fallback of `auto` is cached for ten minutes only."""
        name: DataChoice = "mnist" if choice == "auto" and "mnist" in self._data else choice
        kept, until = self._data.get(name, (None, 0.0))
        if kept is not None and time.monotonic() < until:
            return kept
        data = load(choice, self._settings.data_dir, fetch=True)
        fell_back = choice == "auto" and data.name != "mnist"
        key: DataChoice = "auto" if fell_back else data.name
        self._data[key] = (data, time.monotonic() + FALLBACK_LIFETIME_S if fell_back else float("inf"))
        log.info("data: %s", data.description)
        return data
