"""`fanin doctor`: check everything that the processes of the service depend on, and report problems."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from models.data.mnist import load
from models.errors import DataMissing, FaninError
from models.vocabulary import DATA_NAMES
from service.artifacts.layout import JOBS, job_folder
from service.artifacts.opening import open_artifacts
from service.artifacts.store import Artifacts
from service.errors import Unavailable
from service.processes.hardware import usable_cores, visible_gpus
from service.settings import Settings
from service.store.checkpoints import files_of_job
from service.store.engine import now, open_engine
from service.store.migration import require_tables
from service.store.outages import check_connection
from service.store.transfer import files_of_rows, snapshot
from service.store.workers import list_workers

SMALLEST_FREE_BYTES = 2**30
MAX_CLOCK_DIFFERENCE_S = 5.0


class Finding(NamedTuple):
    """The result of one check."""

    subject: str
    is_fine: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Run all checks and return their findings; a check that fails with an error is a finding too."""
    engine = open_engine(settings.sqlalchemy_url)
    artifacts = open_artifacts(settings.artifacts_place)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("database", lambda: _database(engine)),
        ("workers", lambda: _workers(engine, settings.worker_ttl_s)),
        ("data", lambda: _data(settings)),
        ("devices", _devices),
        ("checkpoints", lambda: _artifacts(artifacts)),
        ("files", lambda: _files(engine, artifacts)),
    ]
    findings: list[Finding] = []
    for subject, check in checks:
        try:
            findings.extend(check())
        except (FaninError, OSError, SQLAlchemyError) as error:
            findings.append(Finding(subject, False, str(error).splitlines()[0]))
    engine.dispose()
    return findings


def _database(engine: Engine) -> Iterator[Finding]:
    where = engine.url.render_as_string(hide_password=True)
    check_connection(engine)
    require_tables(engine)
    yield Finding("database", True, f"{where} can be reached and is up to date.")
    with engine.connect() as connection:
        difference_s = abs(float(connection.execute(select(now())).scalar_one()) - time.time())
    if difference_s > MAX_CLOCK_DIFFERENCE_S:
        text = f"The clocks of the database and this machine differ by {difference_s:.0f} s; log times will not agree."
        yield Finding("clock", False, text)


def _workers(engine: Engine, ttl_s: float) -> Iterator[Finding]:
    workers = list_workers(engine)
    live = [worker.name for worker in workers if worker.is_live(ttl_s)]
    silent = [f"{worker.name} ({abs(worker.age_s):.0f} s)" for worker in workers if not worker.is_live(ttl_s)]
    yield Finding("workers", bool(live), f"live: {', '.join(live)}." if live else "none alive: start `fanin worker`.")
    if silent:
        yield Finding("workers", False, f"no heartbeat: {', '.join(silent)}; their runs are requeued.")


def _data(settings: Settings) -> Iterator[Finding]:
    missing = []
    for name in DATA_NAMES:
        try:
            yield Finding("data", True, f"{name}: {load(name, settings.data_dir, fetch=False).description}")
        except DataMissing as error:
            missing.append(str(error))
    if len(missing) == len(DATA_NAMES):
        yield Finding("data", False, " ".join(missing))
    elif missing:
        yield Finding("data", True, f"some data is missing: {missing[0]}")


def _devices() -> Iterator[Finding]:
    import torch

    from models.training.kernel_library import kernel
    from models.training.triton.availability import why_unavailable

    gpus = visible_gpus()
    yield Finding("devices", True, f"{usable_cores()} cores, {len(gpus)} GPUs, torch {torch.__version__}.")
    if kernel() is None:
        text = "no compiled training kernel: on CPUs ReLU networks train several times slower, by the step in torch."
        yield Finding("devices", True, f"{text} To have it, install Fanin again where a C compiler is.")
    if gpus and not torch.cuda.is_available():
        text = (
            f"{len(gpus)} GPUs are listed, but torch {torch.__version__} cannot use them: check the driver's version."
        )
        yield Finding("devices", False, text)
    elif gpus:
        reason = why_unavailable(torch.device("cuda"))
        text = "triton-step" if reason is None else f"the step in torch, since for triton-step {reason}"
        yield Finding("devices", reason is None, f"GPU jobs train with {text}.")


def _artifacts(artifacts: Artifacts) -> Iterator[Finding]:
    path, content = f"doctor/{uuid.uuid4().hex}", b"Fanin looks whether it can write here."
    condition = artifacts.check()
    if not condition.is_writable:
        yield Finding("checkpoints", True, f"{artifacts.where} can be read, but not written: no worker can run here.")
        return
    try:
        artifacts.write(path, content)
        with suppress(FileExistsError):
            artifacts.write(path, content)
            raise Unavailable(f"{artifacts.where} overwrites files.", "Use a storage that knows If-None-Match.")
        artifacts.read(path, hashlib.sha256(content).hexdigest())
    finally:
        artifacts.delete(path)
    free_bytes = condition.free_bytes
    if free_bytes is None:
        yield Finding("checkpoints", True, f"{artifacts.where} can be written.")
    else:
        text = f"{artifacts.where} can be written; {free_bytes / 2**30:.1f} GiB are free."
        yield Finding("checkpoints", free_bytes >= SMALLEST_FREE_BYTES, text)


def _files(engine: Engine, artifacts: Artifacts) -> Iterator[Finding]:
    with snapshot(engine) as connection:
        expected = {file.path for file in files_of_rows(connection)}
    absent = expected - set(artifacts.list_below(JOBS))
    with snapshot(engine) as connection:  # a running service has deleted the others meanwhile
        missing = sorted(absent & {file.path for file in files_of_rows(connection)})
    if missing:
        text = f"{len(missing)} of {len(expected)} files of checkpoints are missing, such as {missing[0]}."
        yield Finding("files", False, f"{text} Restore them from a backup; `fanin verify` also compares the hashes.")
    else:
        yield Finding("files", True, f"all {len(expected)} files of checkpoints are there.")
    unknown = []
    for job_id in artifacts.list_folders(JOBS):
        files = files_of_job(engine, job_id)
        if not files.is_known and not files.is_deleted:
            unknown.append(job_id)
    if unknown:
        text = f"{len(unknown)} job folders are not in this database, such as {job_folder(unknown[0])}."
        yield Finding("files", False, f"{text} Is it the right database? If so, you may delete them.")
