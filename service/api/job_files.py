"""Delete the files of jobs whose rows were deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from service.artifacts import Artifacts, job_folder

log = logging.getLogger(__name__)


def delete_files(artifacts: Artifacts, job_ids: Sequence[str]) -> None:
    """Delete the folders of jobs; the sweep deletes those that cannot be deleted now."""
    for job_id in job_ids:
        try:
            artifacts.delete_below(job_folder(job_id))
        except OSError as error:
            log.warning("cannot delete the files of %s; the next sweep will: %s", job_id, error)
