"""The worker process: owns one device slot, takes runs from the queue, and trains them one after another."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time

import numpy as np
import torch
from filelock import FileLock, Timeout
from sqlalchemy import Engine

from models.data import DataSet, Digits, load
from models.errors import FaninError
from models.spec import DataChoice, TrainSpec
from models.train import Training
from service.artifacts import Artifacts
from service.attempt import PASSING, Device, Drained, make_attempt
from service.errors import ServiceError
from service.hardware import processor_name
from service.queue import serve_runs
from service.settings import Settings
from service.store.engine import open_engine, require_tables

log = logging.getLogger(__name__)

FALLBACK_LIFETIME_S = 600.0
DRAIN_LIMIT_S = 10.0
EXIT_START_ANEW = 75


class SlotTaken(ServiceError):
    """Another living process owns this slot."""


class Worker:
    """One device slot of this machine; `slot` is a name such as `cpu-0` or `cuda-1`."""

    def __init__(self, settings: Settings, slot: str, threads: int) -> None:
        self._settings = settings
        self._slot = slot
        self._name = f"{settings.node}:{slot}"
        self._device = _device(threads)
        self._busy = False
        self._draining = False
        self._artifacts = Artifacts(settings.home / "artifacts")
        self._data: dict[DataChoice, tuple[DataSet, float]] = {}

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. What was in progress goes on from its last checkpoint next time.

        Raises `SlotTaken` if another process owns the slot, `DatabaseNotReady` before the first migration.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._end)
        with self._held_slot():
            engine = open_engine(self._settings.sqlalchemy_url)
            require_tables(engine)
            torch.set_num_threads(self._device.threads)
            self._warm_up()
            inbox: queue.SimpleQueue[tuple[str, threading.Event]] = queue.SimpleQueue()

            def hand_to_main_thread(run_id: str) -> None:
                done = threading.Event()
                inbox.put((run_id, done))
                done.wait()

            serve_runs(engine, self._settings.sqlalchemy_url, self._name, hand_to_main_thread)
            log.info("worker %s is ready on %s (%s)", self._name, self._device.kind, self._device.name)
            while True:
                # All training happens in this one thread: every thread that trains gets an OpenMP team of its own,
                # and with more threads than cores the teams stop spinning at barriers, which doubled an epoch.
                run_id, done = inbox.get()
                self._make_attempt(engine, run_id)
                done.set()
                if self._draining:
                    os._exit(0)

    def _make_attempt(self, engine: Engine, run_id: str) -> None:
        # Crash-only: a run that did not end stays pending in the queue and is taken up again by the next process. So
        # this one ends without unwinding its threads; files are written first and rows second, so any moment is safe.
        self._busy = True
        try:
            make_attempt(engine, self._artifacts, run_id, self._name, self._device, self._load, lambda: self._draining)
        except Drained:
            log.info("worker %s stops", self._name)
            os._exit(0)
        except PASSING:
            log.exception("this worker starts anew")
            os._exit(EXIT_START_ANEW)
        self._busy = False

    def _end(self, *_signal: object) -> None:
        """Stop at once, or between two steps; no log line, since the signal may have interrupted one."""
        if not self._busy or self._draining:
            os._exit(0)
        self._draining = True
        signal.setitimer(signal.ITIMER_REAL, DRAIN_LIMIT_S)

    def _held_slot(self) -> FileLock:
        folder = self._settings.home / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{self._settings.node}-{self._slot}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise SlotTaken(
                f"Slot {self._slot} of {self._settings.home} is in use by another process.",
                "Stop the other service, or give this one its own FANIN_HOME.",
            ) from None
        return lock

    def _warm_up(self) -> None:
        """Load the data, if it is here, and train for one step: the first job then starts at once."""
        try:
            self._data["mnist"] = (load("mnist", self._settings.data_dir, fetch=False), float("inf"))
        except FaninError as error:
            log.info("no data set is loaded yet: %s", error.detail)
        digits = Digits(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
        blank = DataSet("mnist_5k", digits, digits, "mnist_5k_held_out", sha256="", description="one blank image")
        Training([TrainSpec()], blank, self._device.torch_device).run_epoch()

    def _load(self, choice: DataChoice) -> DataSet:
        """Return a data set, kept in memory; a fallback of `auto` is kept for ten minutes only."""
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


def _device(threads: int) -> Device:
    if torch.cuda.is_available():
        return Device(torch.device("cuda"), torch.cuda.get_device_name(), threads)
    return Device(torch.device("cpu"), processor_name(), threads)
