"""The files of jobs, as routes use them: brought to this machine's disk, or deleted with their rows."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi.concurrency import run_in_threadpool

from service.artifacts.layout import job_folder
from service.artifacts.store import Artifacts
from service.errors import Unavailable
from service.store.checkpoints import CheckpointRow

log = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 16


@asynccontextmanager
async def on_this_disk(artifacts: Artifacts, checkpoint: CheckpointRow) -> AsyncIterator[Path]:
    """Yield a file with the weights of a checkpoint, for a process that reads it by name and compares its SHA-256."""
    with ExitStack() as stack:
        copy = artifacts.local_copy(checkpoint.weights_path, checkpoint.weights_file_sha256)
        yield await run_in_threadpool(stack.enter_context, copy)


def delete_files(artifacts: Artifacts, job_ids: Sequence[str]) -> None:
    """Delete the folders of jobs; the sweep deletes those that cannot be deleted now.

    Object storage takes two requests for each, so that many are sent at once. If it is away, all but the first fail
    without a wait.
    """
    at_once = REQUESTS_AT_ONCE if artifacts.is_remote else 1
    with ThreadPoolExecutor(at_once, "deletions") as pool:
        failed = [error for error in pool.map(partial(_failure_of, artifacts), job_ids) if error is not None]
    if failed:
        log.warning("the files of %d jobs stay until the next sweep: %s", len(failed), failed[0])


def _failure_of(artifacts: Artifacts, job_id: str) -> Exception | None:
    """Delete the folder of a job; return why it cannot be deleted now."""
    try:
        artifacts.delete_below(job_folder(job_id))
    except (OSError, Unavailable) as error:
        return error
    return None
