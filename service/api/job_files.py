"""Delete the files of jobs whose rows were deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Engine

from service.artifacts import Artifacts, job_folder
from service.store.file_hold import files_are_held

log = logging.getLogger(__name__)


def delete_files(engine: Engine, artifacts: Artifacts, job_ids: Sequence[str]) -> None:
    """Delete the folders of jobs. The sweep deletes what a backup may be copying and what cannot be deleted now."""
    with engine.connect() as connection:
        if files_are_held(connection):
            return
    for job_id in job_ids:
        try:
            artifacts.delete_below(job_folder(job_id))
        except OSError as error:
            log.warning("cannot delete the files of %s; the next sweep will: %s", job_id, error)
