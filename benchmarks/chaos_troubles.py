"""Troubles of a chaos trial that are no kills: outages, replicas, a frozen API, a full disk, a clock that jumps."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.chaos_trial import Kill, Trial
from benchmarks.machines import Machine, wait_until
from benchmarks.object_storage import Fault

DISK_BYTES = 2 * 2**30
ROOM_BYTES = 256 * 1024
REPLICA_LIMIT_S = 60.0
NAME_TAKEN = 78
JUMP_S = 3600


def database_outage(trial: Trial) -> None:
    """Stop PostgreSQL for some seconds; in half of the cases kill a worker meanwhile. On SQLite freeze the API."""
    server = trial.cluster.server
    if server is None:
        freeze_api(trial)
        return
    job_id, _machine, process_id = trial.victim()
    is_killed = trial.random.random() < 0.5
    server.stop()
    try:
        if is_killed:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(trial.random.uniform(1.0, 8.0))
    finally:
        server.start()
    kind = "database outage and a kill" if is_killed else "database outage"
    trial.kills.append(Kill(kind, time.time(), [job_id] if is_killed else []))
    wait_until(trial.cluster.api_is_ready, 60, "the API after the outage")


def replica_of_a_name(trial: Trial) -> None:
    """Start a second worker under the name of one that trains; it must refuse, and the job must not notice."""
    _job_id, machine, _process_id = trial.victim()
    home = trial.cluster.folder / f"replica-{len(trial.kills)}"
    environment = trial.cluster.environment(machine.name) | {"FANIN_HOME": str(home)}
    replica = Machine("replica", ("worker", "--slots", "1"), environment, home / "output.log")
    replica.start()
    assert replica.process is not None
    status = replica.process.wait(REPLICA_LIMIT_S)
    if status != NAME_TAKEN:
        raise RuntimeError(f"a replica of {machine.name} ended with status {status}: {replica.output()}")
    trial.kills.append(Kill("replica of a living name", time.time(), []))


def freeze_api(trial: Trial) -> None:
    """Freeze the API for some seconds."""
    trial.victim()
    process = trial.cluster.machines["api"].process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    time.sleep(trial.random.uniform(1.0, 6.0))
    process.send_signal(signal.SIGCONT)
    trial.kills.append(Kill("API frozen", time.time(), []))
    wait_until(trial.cluster.api_is_ready, 60, "the API")


def storage_trouble(trial: Trial) -> None:
    """Leave no room on the disk of the checkpoints for some seconds, or let object storage refuse all requests."""
    if trial.cluster.storage is None:
        full_disk(trial)
        return
    job_id, _machine, process_id = trial.victim()
    is_killed = trial.random.random() < 0.5
    usual, trial.cluster.storage.choose = trial.cluster.storage.choose, lambda _method, _path: "error"
    try:
        time.sleep(trial.random.uniform(0.5, 2.0))
        if is_killed:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        time.sleep(trial.random.uniform(0.5, 6.0))
    finally:
        trial.cluster.storage.choose = usual
    kind = "storage outage and a kill" if is_killed else "storage outage"
    trial.kills.append(Kill(kind, time.time(), [job_id] if is_killed else []))


def failing_sometimes(chance: random.Random) -> Callable[[str, str], Fault | None]:
    """Return a choice of faults: one of 25 requests fails in one of four ways."""
    kinds: list[Fault | None] = ["error", "cut", "lost", "hang", None]

    def choose(_method: str, _path: str) -> Fault | None:
        return chance.choices(kinds, [12, 12, 12, 4, 960])[0]

    return choose


def full_disk(trial: Trial) -> None:
    """Leave no room on the disk of the checkpoints for some seconds; jobs that fail are retried."""
    folder = trial.cluster.folder / "artifacts"
    trial.victim()
    used = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    if not folder.is_mount() or not resize(folder, used + ROOM_BYTES):
        freeze_api(trial)
        return
    time.sleep(trial.random.uniform(1.0, 4.0))
    resize(folder, DISK_BYTES)
    trial.kills.append(Kill("disk full", time.time(), []))


def clock_jumps(trial: Trial) -> None:
    """Let the clock of all processes jump by an hour and back; in half of the cases kill a worker meanwhile.

    The job must go on while the clock is wrong: a heartbeat of before the jump must not count for an hour.
    """
    job_id, _machine, process_id = trial.victim()
    before = trial.running().get(job_id)
    is_killed = trial.random.random() < 0.5
    direction = trial.random.choice((-1, 1))
    trial.clock.jump(direction * JUMP_S)
    try:
        time.sleep(trial.random.uniform(0.0, 2.0))
        if is_killed:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
            trial.wait_for_another_attempt(job_id, before)
        time.sleep(trial.random.uniform(0.0, 4.0))
    finally:
        trial.clock.jump(0)
    kind = f"clock {'back' if direction < 0 else 'forward'}{' and a kill' if is_killed else ''}"
    trial.kills.append(Kill(kind, time.time(), []))


def mount_disk(folder: Path) -> bool:
    """Make `folder` a small file system of its own, where root may; return whether it is one."""
    folder.mkdir(parents=True, exist_ok=True)
    return _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))


def resize(folder: Path, size_bytes: int) -> bool:
    """Give the file system of `mount_disk` another size."""
    return _mount("-o", f"remount,size={size_bytes}", str(folder))


def unmount(folder: Path) -> None:
    """Undo `mount_disk`."""
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
