"""The files of jobs, as routes use them: brought to this machine's disk, or deleted with their rows."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from fastapi.concurrency import run_in_threadpool

from service.artifacts.layout import job_folder
from service.artifacts.store import Artifacts
from service.errors import Unavailable
from service.store.checkpoints import CheckpointRow

log = logging.getLogger(__name__)


@asynccontextmanager
async def on_this_disk(artifacts: Artifacts, checkpoint: CheckpointRow) -> AsyncIterator[Path]:
    """Yield a file with the weights of a checkpoint, for a process that reads it by name and compares its SHA-256."""
    with ExitStack() as stack:
        copy = artifacts.local_copy(checkpoint.weights_path, checkpoint.weights_file_sha256)
        yield await run_in_threadpool(stack.enter_context, copy)


def delete_files(artifacts: Artifacts, job_ids: Sequence[str]) -> None:
    """Delete the folders of jobs; the sweep deletes those that cannot be deleted now."""
    for job_id in job_ids:
        try:
            artifacts.delete_below(job_folder(job_id))
        except OSError as error:
            log.warning("cannot delete the files of %s; the next sweep will: %s", job_id, error)
        except Unavailable as error:  # for the others too: each would wait as long
            log.warning("the files of %d jobs stay until the next sweep: %s", len(job_ids), error)
            return
