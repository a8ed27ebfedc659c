"""Several machines simulated on one: nodes with their own folders, which share a database and a checkpoint folder.

For crash tests and benchmarks: real processes, real signals, SQLite and a real PostgreSQL server.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from benchmarks.jumping_clock import JumpingClock
from benchmarks.object_storage import Storage
from benchmarks.postgresql import PostgreSQL
from service.artifacts.folder import Folder
from service.artifacts.store import Artifacts
from service.commands.local_service import environment_without_settings, free_port
from service.settings import Settings

Database = Literal["sqlite", "postgresql"]
DATABASES: tuple[Database, ...] = ("sqlite", "postgresql")
ROOT = Path(__file__).parents[1]
START_LIMIT_S = 90.0
STOP_LIMIT_S = 40.0


def wait_until(condition: Callable[[], Any], limit_s: float = 60.0, what: str = "", pause_s: float = 0.05) -> Any:
    """Wait until `condition` is true and return what it returned. Raises `TimeoutError` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"gave up after {limit_s:.0f} s waiting for {what or condition}")
        time.sleep(pause_s)


def memory_mib(process_id: int) -> float:
    """Return the resident memory of a process."""
    text = Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS:"))


def children_of(process_id: int, role: str) -> list[int]:
    """Return the process ids of a process's live children that have a role: api or slot."""
    try:
        listed = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    except OSError:
        return []
    children = []
    for text in listed:
        with suppress(OSError):
            if role.encode() in Path(f"/proc/{text}/cmdline").read_bytes().split(b"\0"):
                children.append(int(text))
    return children


@dataclass
class Machine:
    """One role of the service on a machine of its own; `role` has the arguments of `fanin`."""

    name: str
    role: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    prefix: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the role; see `Cluster` for when it is ready."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "service", *self.role],
                cwd=ROOT,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def workers(self) -> list[int]:
        """Return the process ids of the worker processes."""
        return children_of(self.process.pid, "slot") if self.process else []

    def output(self) -> str:
        """Return what the processes have written."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End all processes of the machine at once by SIGKILL, as a power cut does."""
        assert self.process is not None
        for child in self.workers():  # first, so that none has the time to notice its parent's end
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask the machine to stop and return its exit status; kill it if it does not."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()


@dataclass(frozen=True)
class Elsewhere:
    """Where the parts of a cluster are, if they are not on loopback: its database, the API's host, and its nodes.

    `prefix_of` returns the command that starts another one on a node; `environment_of` what its processes get besides.
    """

    database_url: str
    host: str
    prefix_of: Callable[[str], tuple[str, ...]]
    environment_of: Callable[[str], Mapping[str, str]]


class Cluster:
    """One API and any number of worker machines that share one database and one store of checkpoints."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        data_dir: Path | None = None,
        clock: JumpingClock | None = None,
        storage: Storage | None = None,
        elsewhere: Elsewhere | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.storage = storage
        self._clock = clock.environment if clock else {}
        self.elsewhere, self.server = elsewhere, None
        if elsewhere is not None:
            self.database_url = elsewhere.database_url
        elif database == "postgresql":
            self.server = PostgreSQL(folder / "postgresql", self._clock)
            self.database_url = self.server.url
        else:
            self.database_url = f"sqlite:///{folder / 'fanin.sqlite'}"
        self.port = free_port()
        self.base_url = f"http://{elsewhere.host if elsewhere else '127.0.0.1'}:{self.port}"
        self._settings = {
            "FANIN_DATABASE_URL": self.database_url,
            **(storage.settings() if storage else {"FANIN_ARTIFACTS_DIR": str(folder / "artifacts")}),
            "FANIN_DATA_DIR": str(data_dir or folder / "no-data"),
            "FANIN_PORT": str(self.port),
            "FANIN_LOG_FORMAT": "text",
            **settings,
        }
        self.machines: dict[str, Machine] = {}
        self.client = httpx.Client(base_url=self.base_url, timeout=60)
        self.run("migrate")

    @property
    def sqlalchemy_url(self) -> str:
        """Return the database's URL for `service.store.engine.open_engine`."""
        return Settings(home=self.folder, database_url=self.database_url).sqlalchemy_url

    @property
    def artifacts(self) -> Artifacts:
        """Return the shared store of checkpoints."""
        return self.storage.objects() if self.storage else Folder(self.folder / "artifacts")

    def environment(self, node: str) -> dict[str, str]:
        """Return the environment of a node: the shared settings, its own home, and its name."""
        node_settings = {"FANIN_HOME": str(self.folder / node), "FANIN_NODE": node}
        there = dict(self.elsewhere.environment_of(node)) if self.elsewhere else {}
        return environment_without_settings() | self._settings | node_settings | self._clock | there

    def prefix(self, node: str) -> tuple[str, ...]:
        """Return the command that starts another one on a node."""
        return self.elsewhere.prefix_of(node) if self.elsewhere else ()

    def run(self, *command: str, node: str = "operator") -> subprocess.CompletedProcess[str]:
        """Run a command of `fanin` to its end on a node."""
        done = subprocess.run(
            [*self.prefix(node), sys.executable, "-m", "service", *command],
            cwd=ROOT,
            env=self.environment(node),
            capture_output=True,
            text=True,
            timeout=START_LIMIT_S,
            check=False,
        )
        if command == ("migrate",) and done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done

    def start_api(self) -> Machine:
        """Start the API, again if it was killed, and wait until it answers."""
        machine = self._started("api", ("api",))
        ended = machine.process.poll if machine.process else lambda: None
        wait_until(lambda: self.api_is_ready() or ended() is not None, START_LIMIT_S, "the API")
        assert ended() is None, machine.output()
        return machine

    def start_worker(self, name: str, slots: int = 1, *options: str, wait: bool = True) -> Machine:
        """Start a machine that trains, with more options of `fanin worker`, and wait until its workers are ready."""
        machine = self._started(name, ("worker", "--slots", str(slots), *options))
        if wait:
            wait_until(lambda: machine.output().count("is ready on") >= slots, START_LIMIT_S, f"the workers of {name}")
        return machine

    def _started(self, name: str, role: tuple[str, ...]) -> Machine:
        log = self.folder / name / "output.log"
        machine = Machine(name, role, self.environment(name), log, self.prefix(name))
        self.machines[name] = machine
        machine.start()
        return machine

    def start_with_one_model(self, body: Mapping[str, Any]) -> str:
        """Start the API alone, after a worker has trained a job, and return the job's id."""
        self.start_api()
        worker = self.start_worker("trainer")
        job = self.client.post("/jobs", json=body, headers={"Prefer": "wait=60"}).raise_for_status().json()
        worker.stop()
        return str(job["id"])

    def api_is_ready(self) -> bool:
        """Return whether the API reports that it is ready."""
        try:
            return httpx.get(f"{self.base_url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def hold_still(self, worker: int) -> None:
        """Freeze a worker process by SIGSTOP; see the function of this name."""
        hold_still(worker, None if self.server else self.folder / "fanin.sqlite")

    def close(self) -> None:
        """End all machines and the database's server."""
        self.client.close()
        for machine in self.machines.values():
            if machine.process is not None and machine.process.poll() is None:
                machine.kill()
        if self.server is not None:
            self.server.close()


def hold_still(worker: int, sqlite_file: Path | None) -> None:
    """Freeze a worker process by SIGSTOP; on SQLite not while it holds the file's lock.

    No other process could take that lock from it. PostgreSQL ends the transaction of a frozen process itself.
    """

    def stopped() -> bool:
        os.kill(worker, signal.SIGSTOP)
        if sqlite_file is None or _is_free(sqlite_file):
            return True
        os.kill(worker, signal.SIGCONT)
        return False

    wait_until(stopped, what="a moment without a transaction")


def _is_free(file: Path) -> bool:
    connection = sqlite3.connect(file, timeout=0.5, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True
